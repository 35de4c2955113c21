import { onTestFinished } from 'vitest'
import { type Clock, type Outside, systemOutside } from '../../src/base/clock.ts'
import type { Answered, Asking } from '../support/ask.ts'
import { type House, type HouseOptions, startHouse } from '../support/house.ts'
import type { AuthOptions } from '../support/token-server.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'

/** The system's clock, which a test may set forward. */
export class LeapingClock implements Clock {
  #leaptMs = 0

  wallMs(): number {
    return systemOutside.clock.wallMs() + this.#leaptMs
  }

  monotonicMs(): number {
    return systemOutside.clock.monotonicMs() + this.#leaptMs
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return systemOutside.clock.sleep(ms, signal)
  }

  after(ms: number, act: () => void): () => void {
    return systemOutside.clock.after(ms, act)
  }

  leap(ms: number): void {
    this.#leaptMs += ms
  }
}

/** A client with credentials. */
export class Tenant {
  readonly name: string
  readonly authorization: string
  readonly #house: House

  constructor(house: House, name: string, password = `${name}-canary`) {
    this.name = name
    this.#house = house
    this.authorization = basicOf(name, password)
  }

  ask(path: string, { headers = {}, ...asking }: Asking = {}): Promise<Answered> {
    return this.#house.ask(path, { ...asking, headers: { ...headers, authorization: this.authorization } })
  }

  /** Of `/v2/<path>`. */
  async statusOf(path: string, asking: Asking = {}): Promise<number> {
    return (await this.ask(`/v2/${path}`, asking)).status
  }
}

export const basicOf = (name: string, password = `${name}-canary`): string =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`

type TenantsOptions = {
  readonly kind?: AuthOptions['kind']
  readonly house?: HouseOptions
  readonly auth?: Partial<AuthOptions>
}

/**
 * A registry where alice may read team-a, bob team-b and both team-c, a house where these are private, and an account
 * of the house that may read all of them upstream.
 */
export async function startTenants({ kind = 'bearer', house: more = {}, auth = {} }: TenantsOptions = {}) {
  const users: Record<string, string> = { alice: 'alice-canary', bob: 'bob-canary', bot: 'bot-canary' }
  const rights = new Map([
    ['team-a', new Set(['alice', 'bot'])],
    ['team-b', new Set(['bob', 'bot'])],
    ['team-c', new Set(['alice', 'bob', 'bot'])],
  ])
  const isPrivate = (path: string) => rights.has(path.split('/')[0] ?? '')
  const mayRead = (user: string | undefined, path: string) =>
    rights.get(path.split('/')[0] ?? '')?.has(user ?? '') ?? true
  const registry = await startUpstream({ auth: { kind, users, isPrivate, mayRead, ...auth } })
  const clock = new LeapingClock()
  const outside: Outside = { clock, random: () => 0.5 }
  const accounts = [{ username: 'bot', password: 'bot-canary' }]
  const ours = { private: ['team-*/**'], accounts, ...more.upstreams?.['registry.test'] }
  const house = await startHouse(registry, {
    outside,
    ...more,
    upstreams: { ...more.upstreams, 'registry.test': ours },
  })
  onTestFinished(async () => {
    await house[Symbol.asyncDispose]()
    await registry.stop()
  })
  const tenants = { alice: new Tenant(house, 'alice'), bob: new Tenant(house, 'bob') }
  return { registry, house, clock, users, rights, ...tenants }
}

/** An answer as its client can tell it from another; what differs by itself is left out. */
export const seenOf = ({ status, rawHeaders, body }: Answered): unknown => {
  const pairs = rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${rawHeaders[at + 1]}`] : []))
  return { status, headers: pairs.filter((pair) => !pair.startsWith('Date:')), body: body.toString() }
}

/** Upstream's requests since `from`, with whoever sent them, and each digest as `<digest>`. */
export function askedSince(registry: FakeUpstream, from: number): readonly string[] {
  return registry.requests.slice(from).map((request, at) => {
    const { authorization = 'nobody' } = registry.headersSeen[from + at] ?? {}
    return `${request.replaceAll(/sha256(?::|%3A)[0-9a-f]{64}/g, '<digest>')} as ${authorization.split(' ')[0]}`
  })
}
