import { randomBytes } from 'node:crypto'
import type { Digest } from '../../src/oci/digest.ts'
import type { Seen } from '../support/misbehave.ts'
import { startThief, type Thief } from '../support/thief.ts'
import { FakeUpstream } from '../support/upstream.ts'
import { Catalogue, MOVING_TAG } from './catalogue.ts'
import { Random } from './random.ts'
import { Relay } from './relay.ts'
import type { Lie } from './schedule.ts'
import { Truth } from './truth.ts'

/** One registry as Millpond knows it: its endpoints are relays before one server. */
type Host = { readonly fake: FakeUpstream; readonly relays: readonly Relay[] }

const ACCOUNT = 'bot'
/** Under which `truth` keeps alice's right: there while it points to something. */
export const RIGHT = ['alice', 'right'] as const
/** Alice may read what is hers, bob may not. */
export type Tenant = 'alice' | 'bob'
const basicOf = (name: string, password: string): string =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
const newCanary = (what: string) => `canary-${what}-${randomBytes(12).toString('hex')}`

/** What may be found nowhere: not in the log, the numbers or the folder, nor on a server that it wasn't for. */
export class Canaries {
  readonly account = newCanary('account')
  readonly client = newCanary('client')
  readonly alice = newCanary('alice')
  readonly bob = newCanary('bob')
  readonly signature = newCanary('signature')

  /** As clients send theirs, and as it would look when forwarded. */
  get clientHeader(): string {
    return basicOf('me', this.client)
  }

  /** Of a caller whom `token.test` knows. */
  headerOf(tenant: Tenant): string {
    return basicOf(tenant, this[tenant])
  }

  get all(): readonly string[] {
    const headers = [basicOf(ACCOUNT, this.account), this.clientHeader, this.headerOf('alice'), this.headerOf('bob')]
    const plain = [this.account, this.client, this.signature, this.alice, this.bob]
    return [...plain, ...headers.map((header) => header.slice('Basic '.length))]
  }
}

/** All that is outside of Millpond: three upstreams behind relays, a storage host, two thieves, and what is true. */
export class World implements AsyncDisposable {
  readonly canaries = new Canaries()
  readonly truth = new Truth()
  readonly hosts = new Map<string, Host>()
  readonly catalogue: Catalogue
  /** Where lies lead. It may be asked, and must learn nothing. */
  readonly thief: Thief
  /** What clients name: it is never asked at all. */
  readonly stranger: Thief
  readonly #storage: Host
  #hasRight = true
  readonly #lies = new Map<string, number>()
  readonly lieCounts = new Map<Lie, number>()
  /** Token-shaped secrets that were seen on their way. */
  readonly tokens = new Set<string>()
  readonly leaks: string[] = []
  upstreamBytes = 0
  resumes = 0
  requests = 0

  static async start(seed: number): Promise<World> {
    const relays = await Promise.all(Array.from({ length: 5 }, startRelay))
    return new World(seed, relays, await startThief(), await startThief())
  }

  private constructor(seed: number, relays: readonly Relay[], thief: Thief, stranger: Thief) {
    const [one, two, three, four, five] = relays
    if (!one || !two || !three || !four || !five) throw new Error('five relays are wanted')
    this.thief = thief
    this.stranger = stranger
    const { account, alice, bob } = this.canaries
    const mayRead = (user: string | undefined, path: string) => this.#mayRead(user, path)
    const users = { [ACCOUNT]: account, alice, bob }
    const auth = { kind: 'bearer', users, mayRead, realm: `${three.origin}/token`, tokenTtlS: 20 } as const
    this.hosts.set('plain.test', { fake: new FakeUpstream({}), relays: [one, two] })
    this.hosts.set('token.test', { fake: new FakeUpstream({ auth }), relays: [three] })
    this.hosts.set('stored.test', { fake: new FakeUpstream({}), relays: [four] })
    this.#storage = { fake: new FakeUpstream({}), relays: [five] }
    const shelves = [...this.hosts].map(([host, { fake }]) => {
      return { host, manifests: fake, blobs: host === 'stored.test' ? this.#storage.fake : fake }
    })
    this.catalogue = new Catalogue(new Random(seed).fork('images'), shelves, stranger.origin)
    this.host('stored.test').fake.behave({
      match: (seen) => seen.kind === 'blob' && (seen.method === 'GET' || seen.method === 'HEAD'),
      act: { redirect: (seen: Seen) => `${five.origin}${seen.url}?X-Amz-Signature=${this.canaries.signature}` },
    })
  }

  /** Alice's right to what is hers, from now on; what `wasTrue` of it is told by `RIGHT`. */
  setRight(isGiven: boolean): void {
    this.#hasRight = isGiven
    this.truth.say(...RIGHT, isGiven ? this.catalogue.mine.index : undefined, performance.now())
  }

  #mayRead(user: string | undefined, path: string): boolean {
    if (path.startsWith('mine/')) return user === 'alice' && this.#hasRight
    return !path.startsWith('held/') || user === ACCOUNT
  }

  /** Listens. Tags are true from now on. */
  async open(): Promise<void> {
    for (const { fake, relays } of this.#all()) {
      await fake.start()
      for (const relay of relays) relay.leadTo(fake.port)
    }
    this.truth.say(...RIGHT, this.catalogue.mine.index, 0)
    for (const { host, path, images, index } of [...this.catalogue.repositories, this.catalogue.mine]) {
      for (const [version, { digest }] of images.entries()) this.truth.say(`${host}/${path}`, `v${version}`, digest, 0)
      this.truth.say(`${host}/${path}`, 'multi', index, 0)
      this.pointTag(host, path, images[0]?.digest)
    }
  }

  host(name: string): Host {
    const found = this.hosts.get(name)
    if (!found) throw new Error(`there is no ${name}`)
    return found
  }

  /** Who is lied through for a kind of request: blobs of `stored.test` come from elsewhere. */
  liarFor(host: string, ofBlobs: boolean): FakeUpstream {
    return host === 'stored.test' && ofBlobs ? this.#storage.fake : this.host(host).fake
  }

  relaysOf(host: string): readonly Relay[] {
    return host === 'stored.test' ? [...this.host(host).relays, ...this.#storage.relays] : this.host(host).relays
  }

  /** Connections that Millpond has to the upstreams. */
  get openConnections(): number {
    return this.#all().reduce((sum, { relays }) => sum + relays.reduce((each, r) => each + r.openConnections, 0), 0)
  }

  /** The moving tag points to `digest` from now on, or is gone. */
  pointTag(host: string, path: string, digest: Digest | undefined): void {
    const { fake } = this.host(host)
    if (digest) fake.tag(path, MOVING_TAG, digest)
    else fake.remove(path, MOVING_TAG)
    this.truth.say(`${host}/${path}`, MOVING_TAG, digest, performance.now())
  }

  noteLie(kind: 'flip' | 'digest' | 'length' | 'fault', about: string): void {
    this.#lies.set(`${kind} ${about}`, performance.now())
  }

  lastLieMs(kind: 'flip' | 'digest' | 'length' | 'fault', about: string): number | undefined {
    return this.#lies.get(`${kind} ${about}`)
  }

  /** Counts what the upstreams were asked and forgets it; what a client sent must not be among it (fault 79). */
  tally(): void {
    for (const [name, { fake }] of [...this.hosts, ['storage', this.#storage] as const]) {
      this.requests += fake.requests.length
      this.resumes += fake.requests.filter((each) => /\/blobs\/.* bytes=[1-9]/.test(each)).length
      this.upstreamBytes += fake.bodyBytesSent
      fake.bodyBytesSent = 0
      for (const headers of fake.headersSeen) this.#inspect(name, headers)
      fake.requests.length = 0
      fake.headersSeen.length = 0
      fake.tokens.requests.length = 0
    }
  }

  #inspect(name: string, headers: Seen['headers']): void {
    const text = JSON.stringify(headers)
    const [, token] = /^Bearer (tok-.+)$/.exec(headers.authorization ?? '') ?? []
    if (token) this.tokens.add(token)
    const { client, clientHeader } = this.canaries
    const { alice, bob } = this.canaries
    const isOfTenants = [
      alice,
      bob,
      ...(['alice', 'bob'] as const).map((name) => this.canaries.headerOf(name).slice(6)),
    ]
    if (name !== 'token.test' && isOfTenants.some((secret) => text.includes(secret))) {
      this.leaks.push(`${name} was sent a tenant's password`)
    }
    if (text.includes(client) || text.includes(clientHeader.slice(6)) || headers['x-soak'] || headers.cookie) {
      this.leaks.push(`${name} was sent what a client sent: ${Object.keys(headers)}`)
    }
    // what the thief gives for a token opens nothing
    const isKnown = name === 'token.test' || headers.authorization === 'Bearer stolen'
    if (headers.authorization && !isKnown) this.leaks.push(`${name} was sent ${headers.authorization}`)
  }

  /** What thieves learned. */
  lootOfThieves(): readonly string[] {
    const secret = /^(?:authorization|cookie|proxy-authorization|x-soak):/im
    const isLoot = (text: string) => secret.test(text) || this.canaries.all.some((each) => text.includes(each))
    return [
      ...this.thief.loot.filter(isLoot).map((text) => `the thief got ${text}`),
      ...this.stranger.loot.map((text) => `a stranger was asked: ${text}`),
    ]
  }

  /** All well again. */
  async heal(): Promise<void> {
    for (const { fake, relays } of this.#all()) {
      for (const relay of relays) {
        relay.heal()
        relay.cutAll(true) // what drips would do so for a minute yet
      }
      await fake.start().catch(() => undefined) // it listens already
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { fake, relays } of this.#all()) {
      for (const relay of relays) await relay[Symbol.asyncDispose]()
      await fake[Symbol.asyncDispose]()
    }
    await this.thief[Symbol.asyncDispose]()
    await this.stranger[Symbol.asyncDispose]()
  }

  #all(): readonly Host[] {
    return [...this.hosts.values(), this.#storage]
  }
}

async function startRelay(): Promise<Relay> {
  const relay = new Relay()
  await relay.start()
  return relay
}
