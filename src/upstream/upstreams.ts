import { readFileSync } from 'node:fs'
import type { Dispatcher } from 'undici'
import type { Outside } from '../base/clock.ts'
import type { UpstreamConfig } from '../base/config.ts'
import { OciError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { RegistryHost, Repository } from '../oci/names.ts'
import type { Endpoints } from './endpoints.ts'
import { Guard } from './guard.ts'
import { Network, type ProxySettings } from './network.ts'
import { Upstream, type UpstreamParts } from './upstream.ts'

export type UpstreamsParts = {
  readonly log: Log
  readonly proxy: ProxySettings
  readonly hooksOf: (host: RegistryHost) => Pick<UpstreamParts, 'onAnswer' | 'onBytes' | 'onFault' | 'onCallerDenied'>
}

/** A registry that is given a blob's last byte may hash or copy the whole before it answers. */
const WRITE_ANSWER_MS = 5 * 60_000

/** The first endpoint of an upstream, the way there, and how long it may take over one write. */
export type WriteWay = {
  readonly endpoint: URL
  readonly dispatcher: Dispatcher
  readonly answerMs: number
  readonly onAnswer: (status: number | 'error') => void
}

/** Every upstream that is served, each built when it is first asked: most of the well-known never are. */
export class Upstreams implements AsyncDisposable {
  readonly #configs: ReadonlyMap<RegistryHost, UpstreamConfig>
  readonly #outside: Outside
  readonly #parts: UpstreamsParts
  readonly #built = new Map<RegistryHost, Upstream>()
  readonly #networks: Network[] = []

  /** @throws {Error} a file of extra CAs can't be read */
  constructor(configs: ReadonlyMap<RegistryHost, UpstreamConfig>, outside: Outside, parts: UpstreamsParts) {
    this.#configs = configs
    this.#outside = outside
    this.#parts = parts
    for (const [host, { connect }] of configs) if (connect.ca !== null) this.of(host)
  }

  of(host: RegistryHost): Upstream | undefined {
    const found = this.#built.get(host)
    const config = this.#configs.get(host)
    if (found || !config) return found
    const { log, proxy, hooksOf } = this.#parts
    const upstream = new Upstream(host, config, this.#outside, { log, proxy, ...hooksOf(host) })
    this.#built.set(host, upstream)
    return upstream
  }

  /**
   * A repository's upstream, asked as its caller where it has one.
   *
   * @throws {OciError} unauthorized: it is private and has none; nobody else may ask for it
   */
  askedFor({ host, path, as }: Repository): Endpoints | undefined {
    const upstream = this.of(host)
    if (as) return upstream?.as(as).usual
    if (upstream?.isPrivate(path))
      throw new OciError('unauthorized', 'a private repository is asked for by its callers')
    return upstream?.ours
  }

  /** As `askedFor`, with a token that is asked for anew each time: what it says is true now. */
  confirmingFor({ host, as }: Repository): Endpoints | undefined {
    return as && this.of(host)?.as(as).confirming
  }

  /** For writes that are passed on: sockets of their own, since a push may be long. */
  writesOf(host: RegistryHost): WriteWay | undefined {
    const config = this.#configs.get(host)
    const endpoint = this.of(host)?.first?.url
    if (!config || !endpoint) return undefined
    const { connect, timeouts, realms } = config
    const guard = new Guard({ endpoint, realms, isPrivateAllowed: connect.private })
    const network = new Network({
      connectMs: timeouts.connect,
      headersMs: timeouts.headers,
      extraCa: connect.ca === null ? undefined : readFileSync(connect.ca, 'utf8'),
      proxy: this.#parts.proxy,
      connector: (options) => guard.connector(options),
      clock: this.#outside.clock,
    })
    this.#networks.push(network)
    const { onAnswer = () => undefined } = this.#parts.hooksOf(host)
    const answerMs = Math.max(WRITE_ANSWER_MS, timeouts.headers)
    return { endpoint, dispatcher: network.of('blobs'), answerMs, onAnswer }
  }

  /** Cuts whatever is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#built.values(), ...this.#networks]
    await Promise.all(all.map((each) => each[Symbol.asyncDispose]()))
  }
}
