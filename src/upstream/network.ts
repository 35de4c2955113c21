import type { OnReadOpts } from 'node:net'
import { getCACertificates } from 'node:tls'
import { Agent, type buildConnector, Client, type Dispatcher, EnvHttpProxyAgent, Pool } from 'undici'
import type { Clock } from '../base/clock.ts'
import { KIB } from '../base/units.ts'
import { BlobSockets } from './blob-sockets.ts'
import { Receiver } from './receiver.ts'

/** Sockets kept apart, so that long blobs never make a manifest or a token wait: 32 an endpoint in all. */
const CONNECTIONS_OF = { heads: 8, blobs: 24 } as const
const KEEP_ALIVE_MS = 30_000
const KEEP_ALIVE_MS_MAX = 60_000
const HEADERS_BYTES_MAX = 64 * KIB

/** `fresh` never reuses a socket: for the one retry of what failed on a used one. */
export type Lane = keyof typeof CONNECTIONS_OF | 'fresh'

/** The environment's proxies (HTTP_PROXY, HTTPS_PROXY, NO_PROXY), as the process was given them. */
export type ProxySettings = { readonly http?: string; readonly https?: string; readonly no?: string }

export type NetworkOptions = {
  readonly connectMs: number
  readonly headersMs: number
  /** PEM certificates trusted besides the usual roots. */
  readonly extraCa: string | undefined
  readonly proxy: ProxySettings
  /** Opens sockets by our guard's rules. */
  readonly connector: (options: {
    ca: readonly string[] | undefined
    timeoutMs: number
    onread?: OnReadOpts
  }) => buildConnector.connector
  readonly clock: Clock
}

/** The socket pools of one endpoint: HTTP/1.1, kept alive. */
export class Network implements AsyncDisposable {
  readonly #dispatchers: Readonly<Record<Lane, Dispatcher>>
  /** The faster way for blobs; undefined behind a proxy. */
  readonly blobSockets: BlobSockets | undefined

  constructor(options: NetworkOptions) {
    const ca = options.extraCa === undefined ? undefined : [...getCACertificates('default'), options.extraCa]
    this.#dispatchers = {
      heads: dispatcherOf(options, ca, { connections: CONNECTIONS_OF.heads }),
      blobs: dispatcherOf(options, ca, { connections: CONNECTIONS_OF.blobs }),
      fresh: dispatcherOf(options, ca, { connections: CONNECTIONS_OF.heads, pipelining: 0 }),
    }
    const { connector, connectMs, clock } = options
    const connectorOf = (onread: OnReadOpts) => connector({ ca, timeoutMs: connectMs, onread })
    if (!isProxied(options.proxy)) {
      this.blobSockets = new BlobSockets({ connectionsMax: CONNECTIONS_OF.blobs, clock, connectorOf })
    }
  }

  of(lane: Lane): Dispatcher {
    return this.#dispatchers[lane]
  }

  /** Cuts whatever is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.blobSockets?.close()
    await Promise.all(Object.values(this.#dispatchers).map((dispatcher) => dispatcher.destroy()))
  }
}

type Sizes = { readonly connections: number; readonly pipelining?: number }

function dispatcherOf(options: NetworkOptions, ca: string[] | undefined, sizes: Sizes): Dispatcher {
  const tls = { rejectUnauthorized: true, ...(ca && { ca }) }
  const agentOptions: Agent.Options = {
    ...sizes,
    allowH2: false, // one connection's congestion window would be shared by all blobs
    connect: options.connector({ ca, timeoutMs: options.connectMs }),
    connectTimeout: options.connectMs,
    factory: (origin, poolOptions) => new Pool(origin, { ...poolOptions, factory: clientOf }),
    headersTimeout: 0, // ours are counted from when a request was sent, by our clock
    bodyTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS_MAX,
    maxHeaderSize: HEADERS_BYTES_MAX,
  }
  const { http = '', https = '', no = '' } = options.proxy
  if (!isProxied(options.proxy)) return new Agent(agentOptions)
  return new EnvHttpProxyAgent({
    ...agentOptions,
    httpProxy: http,
    httpsProxy: https,
    noProxy: no,
    requestTls: tls,
    proxyTls: { ...tls, timeout: options.connectMs }, // the proxy itself is the operator's choice: any address
    clientFactory: (origin, more) => new Pool(origin, { ...more, headersTimeout: options.headersMs }),
  })
}

const isProxied = ({ http = '', https = '' }: ProxySettings): boolean => http !== '' || https !== ''

/** A client that notes on each request whether its socket has served before: only the pool knows. */
function clientOf(origin: URL, options: object): Client {
  const client = new Client(origin, options)
  const dispatch = client.dispatch.bind(client)
  client.dispatch = (request, handler) => {
    if (handler instanceof Receiver) handler.isOnUsedSocket = client.stats.connected
    return dispatch(request, handler)
  }
  return client
}
