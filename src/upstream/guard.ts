import { lookup as systemLookup } from 'node:dns'
import { isIP, type LookupFunction, type OnReadOpts, type Socket } from 'node:net'
import { buildConnector } from 'undici'
import { OciError } from '../base/errors.ts'
import { isLinkLocal, isWithin, type Reach, reachOf } from './address.ts'
import { isListed } from './realm.ts'

export type GuardOptions = {
  readonly endpoint: URL
  /** Realms on other hosts that the operator named. */
  readonly realms: readonly string[]
  /** Whether what an upstream names may be private although its endpoint isn't. */
  readonly isPrivateAllowed: boolean
  readonly lookup?: LookupFunction | undefined
}

type ConnectOptions = {
  readonly ca: readonly string[] | undefined
  readonly timeoutMs: number
  /** Where the socket's bytes go instead of into its stream. */
  readonly onread?: OnReadOpts | undefined
}

/**
 * Where one endpoint's traffic may go. Judged at connect, on the address that is dialled: a name may resolve to another
 * address each time, and a literal is never looked up.
 */
export class Guard {
  readonly #options: GuardOptions
  /** The nearest that the endpoint itself was found to be. */
  #endpointReach: Reach

  constructor(options: GuardOptions) {
    this.#options = options
    const reach = reachOf(literalOf(options.endpoint) ?? '')
    this.#endpointReach = reach === 'never' ? 'public' : reach
  }

  /** Whether the operator named the host: the endpoint or a configured realm. */
  isNamed(url: URL): boolean {
    return url.origin === this.#options.endpoint.origin || isListed(url, this.#options.realms)
  }

  /**
   * Judges a URL that an upstream named, before anything is sent: where a proxy dials, it is all that can be judged.
   *
   * @throws {OciError} upstreamFailed, `address`
   */
  check(url: URL): void {
    const address = literalOf(url)
    if (address !== undefined && !this.#mayDial(address, this.isNamed(url))) throw refused(url.hostname)
  }

  /** Opens sockets, judging each address. */
  connector({ ca, timeoutMs, onread }: ConnectOptions): buildConnector.connector {
    const connectors = new Map(
      [true, false].map((isNamed) => {
        const lookup = this.#judgedLookup(isNamed)
        const common = {
          lookup,
          autoSelectFamily: true,
          allowH2: false,
          timeout: timeoutMs,
          rejectUnauthorized: true,
          ...(onread && { onread }),
        }
        return [isNamed, buildConnector(ca ? { ...common, ca: [...ca] } : common)]
      }),
    )
    return (options, callback) => {
      const url = new URL(`${options.protocol}//${options.host ?? options.hostname}`)
      const isNamed = this.isNamed(url)
      const isLiteral = isIP(options.hostname) !== 0
      if (isLiteral && !this.#mayDial(options.hostname, isNamed)) return callback(refused(options.hostname), null)
      return connectors.get(isNamed)?.(options, (...[error, socket]) => {
        if (error) return callback(error, null)
        if (url.origin === this.#options.endpoint.origin) this.#noteEndpoint(socket)
        return callback(null, socket)
      })
    }
  }

  #judgedLookup(isNamed: boolean): LookupFunction {
    const lookup: LookupFunction = this.#options.lookup ?? systemLookup
    return (hostname, options, callback) =>
      lookup(hostname, { ...options, all: true }, (error, found) => {
        const all = typeof found === 'string' ? [{ address: found, family: isIP(found) }] : found
        if (error) return callback(error, [])
        const allowed = all.filter(({ address }) => this.#mayDial(address, isNamed))
        const [first] = allowed
        if (!first) return callback(refused(hostname), [])
        return options.all ? callback(null, allowed) : callback(null, first.address, first.family)
      })
  }

  #mayDial(address: string, isNamed: boolean): boolean {
    return isNamed ? !isLinkLocal(address) : this.#mayReach(reachOf(address))
  }

  #mayReach(reach: Reach): boolean {
    if (reach === 'never') return false
    return this.#options.isPrivateAllowed || isWithin(reach, this.#endpointReach)
  }

  #noteEndpoint(socket: Socket): void {
    const reach = reachOf(socket.remoteAddress ?? '')
    if (reach !== 'never' && !isWithin(reach, this.#endpointReach)) this.#endpointReach = reach
  }
}

/** The address that is a URL's host (a URL writes 0x7f000001 and 127.1 out); this host's where it is so by name. */
function literalOf({ hostname }: URL): string | undefined {
  const bare = hostname.replace(/^\[|\]$/g, '')
  if (isIP(bare) !== 0) return bare
  const name = hostname.replace(/\.$/, '').toLowerCase()
  return name === 'localhost' || name.endsWith('.localhost') ? '127.0.0.1' : undefined
}

const refused = (host: string): OciError =>
  new OciError('upstreamFailed', 'the upstream leads to an address that may not be dialled', {
    fault: 'address',
    cause: new Error(`refused: ${host}`),
  })
