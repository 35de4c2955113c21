import { LRUCache } from 'lru-cache'
import type { Outside } from '../base/clock.ts'
import { KIB } from '../base/units.ts'
import type { Account } from './accounts.ts'
import { awaited, within } from './deadline.ts'
import { wholeOf } from './encoding.ts'
import { unusable } from './failure.ts'
import type { Realm } from './realm.ts'
import { HOPS_MAX, isRedirect, nextOf } from './redirect.ts'
import { Rest } from './rest.ts'
import type { Answer, Wire } from './wire.ts'

const ANSWER_BYTES_MAX = 64 * KIB
/** What a token server means that says nothing, or less (token specification, "expires_in"). */
const LIFE_S_MIN = 60
const LIFE_S_MAX = 3_600
/** Given up this long before its end, so that it doesn't expire on its way. */
const MARGIN_MS = 30_000
const TOKEN = /^[\x21-\x7e]+$/
/** Of a token and what it is for, on average: most have less than 2 KiB, a hostile server's have 64. */
const HELD_CHARS_EACH = 4 * KIB

export type TokenNeed = {
  readonly realm: Realm
  readonly service: string | undefined
  readonly scopes: readonly string[]
  /** As whom; undefined asks anonymously. */
  readonly account: Account | undefined
}

/** How many tokens are held, and for how long at most. */
export type Holding = { readonly tokensMax: number; readonly heldMsMax: number }

/** For tokens of our own accounts. */
export const HELD: Holding = { tokensMax: 4_096, heldMsMax: LIFE_S_MAX * 1000 }

export type Token = { readonly key: string; readonly text: string; readonly untilMs: number }

/** The tokens of one endpoint: one fetch per realm, service, scopes and account, shared by all who wait for it. */
export class Tokens {
  readonly #wire: Wire
  readonly #outside: Outside
  readonly #totalMs: number
  readonly #rest: Rest
  readonly #heldMsMax: number
  readonly #held: LRUCache<string, Token>
  readonly #underWay = new Map<string, Promise<Token | undefined>>()

  constructor(wire: Wire, outside: Outside, totalMs: number, { tokensMax, heldMsMax }: Holding = HELD) {
    this.#wire = wire
    this.#outside = outside
    this.#totalMs = totalMs
    this.#rest = new Rest(outside.clock)
    this.#heldMsMax = heldMsMax
    this.#held = new LRUCache({
      max: tokensMax,
      maxSize: tokensMax * HELD_CHARS_EACH,
      sizeCalculation: ({ key, text }) => key.length + text.length,
    })
  }

  /** One that is held and still good. */
  find(need: TokenNeed): Token | undefined {
    const token = this.#held.get(keyOf(need))
    return token && token.untilMs > this.#outside.clock.monotonicMs() ? token : undefined
  }

  /**
   * A token that is held, or a new one; undefined where the token server refuses.
   *
   * @throws {OciError} upstreamFailed, mostly `token`; upstreamSlow; accountSpent
   */
  async get(need: TokenNeed, signal: AbortSignal): Promise<Token | undefined> {
    const held = this.find(need)
    if (held) return held
    const key = keyOf(need)
    const found = this.#underWay.get(key)
    if (found) return await awaited(found, signal)
    const fetched = this.#fetch(key, need).finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, fetched)
    void fetched.catch(() => undefined) // those who wait hear of it; they may all have left
    return await awaited(fetched, signal)
  }

  /**
   * A token that was asked for now, whatever is held or on its way: it tells whether credentials are still good.
   *
   * @throws {OciError} as `get`
   */
  async renew(need: TokenNeed, signal: AbortSignal): Promise<Token | undefined> {
    const key = keyOf(need)
    this.#held.delete(key)
    return await this.#fetch(key, need, signal)
  }

  /** It opened nothing: unless it was renewed since, the next who asks gets a new one. */
  forget(token: Token): void {
    if (this.#held.get(token.key) === token) this.#held.delete(token.key)
  }

  async #fetch(key: string, need: TokenNeed, asking?: AbortSignal): Promise<Token | undefined> {
    this.#rest.check()
    const { clock } = this.#outside
    const askedMs = clock.monotonicMs()
    return await within(clock, this.#totalMs, asking, async (signal) => {
      const answer = await this.#ask(need, signal)
      if (answer.status === 200) {
        const told = readToken(await wholeOf(answer, ANSWER_BYTES_MAX))
        const untilMs = Math.min(clock.monotonicMs() + told.lifeMs - MARGIN_MS, askedMs + this.#heldMsMax)
        const token = { key, text: told.text, untilMs }
        this.#held.set(key, token)
        return token
      }
      answer.body.discard()
      if (answer.status === 429) throw this.#rest.obey(answer.headers)
      if (answer.status === 401 || answer.status === 403) return undefined
      throw unusable('token', `the upstream's token server answered ${answer.status}`)
    })
  }

  /** Follows redirects; the account's credentials stay where they were meant for. */
  async #ask({ realm, service, scopes, account }: TokenNeed, signal: AbortSignal): Promise<Answer> {
    let url = new URL(realm.url)
    if (service !== undefined) url.searchParams.set('service', service)
    for (const scope of scopes) url.searchParams.append('scope', scope)
    const { origin } = url
    let authorization = await account?.authorization()
    for (let hop = 0; hop <= HOPS_MAX; hop++) {
      if (url.origin !== origin) authorization = undefined
      const headers = { accept: 'application/json', ...(authorization !== undefined && { authorization }) }
      const answer = await this.#wire.send({ method: 'GET', url, headers, lane: 'heads' }, signal)
      if (!isRedirect(answer.status)) return answer
      answer.body.discard()
      url = nextOf(url, answer.headers)
    }
    throw unusable('redirect', "the upstream's token server redirects without end")
  }
}

const keyOf = ({ realm, service, scopes, account }: TokenNeed): string =>
  JSON.stringify([realm.url.href, service ?? null, [...scopes].sort(), account?.id ?? null])

/** @throws {OciError} upstreamFailed, `token`: no token in it, or a life that is no number */
export function readToken(bytes: Buffer): { readonly text: string; readonly lifeMs: number } {
  const fields = fieldsOf(bytes)
  const text = fields?.get('access_token') ?? fields?.get('token')
  if (typeof text !== 'string' || !TOKEN.test(text)) {
    throw unusable('token', "the upstream's token server sent no token")
  }
  const lifeS = Number(fields?.get('expires_in') ?? LIFE_S_MIN)
  if (!Number.isFinite(lifeS)) throw unusable('token', "the upstream's token server sent a life that is no number")
  return { text, lifeMs: Math.min(Math.max(lifeS, LIFE_S_MIN), LIFE_S_MAX) * 1000 }
}

function fieldsOf(bytes: Buffer): ReadonlyMap<string, unknown> | undefined {
  try {
    const document: unknown = JSON.parse(bytes.toString('utf8'))
    return typeof document === 'object' && document !== null ? new Map(Object.entries(document)) : undefined
  } catch {
    return undefined // an HTML page, perhaps: there is no token in it
  }
}
