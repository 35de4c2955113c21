import { LRUCache } from 'lru-cache'
import type { RepositoryPath } from '../oci/names.ts'
import type { Account } from './accounts.ts'
import { type Challenge, challengesOf, chosenOf, scopesOf } from './challenge.ts'
import { unusable } from './failure.ts'
import { linesOf } from './headers.ts'
import { realmOf } from './realm.ts'
import type { Token, TokenNeed, Tokens } from './tokens.ts'
import type { Answer } from './wire.ts'

/** Challenges met for one request: a first one, a renewed token, a wider scope, another scheme. */
const TURNS_MAX = 4

/** How a repository wants to be asked, as its last challenge told. */
type Way =
  | { readonly by: 'basic'; readonly account: Account }
  | { readonly by: 'bearer'; readonly need: TokenNeed; readonly isWithheld: boolean }

type WayOf = (challenge: Challenge, scopes: readonly string[]) => Way | undefined

export type Proof = { readonly authorization: string | undefined; readonly isPublic: boolean }

/** As whom: an account of ours, or a caller with credentials of his own. */
export type Identity = {
  readonly find: (path: RepositoryPath) => Account | undefined
  /** What he gets is his alone, even where nobody asked who he is. */
  readonly isCaller: boolean
}

/** What a repository's last challenge was: so many are remembered. */
export type Ways = LRUCache<RepositoryPath, Way>

export const waysOf = (max: number): Ways => new LRUCache({ max })

type CredentialsOptions = {
  readonly endpoint: URL
  readonly realms: readonly string[]
  readonly identity: Identity
  readonly tokens: Tokens
  readonly ways: Ways
  /** Each request has its token asked for anew: what it opens is opened by credentials that are good now. */
  readonly isFresh?: boolean
}

/** How one endpoint's challenges are met. A repository's last one is remembered: a warm pull costs no 401. */
export class Credentials {
  readonly #options: CredentialsOptions

  constructor(options: CredentialsOptions) {
    this.#options = options
  }

  /** For one request at the endpoint itself. */
  forEndpoint(path: RepositoryPath): Pass {
    const { endpoint, realms, identity, ways } = this.#options
    const account = identity.find(path)
    const wayOf: WayOf = (challenge, scopes) =>
      wayFor(challenge, scopes, account, { url: endpoint, isEndpoint: true, realms })
    return new Pass(this.#options, defaultScopeOf(path), wayOf, {
      find: () => ways.get(path),
      put: (way) => (way ? ways.set(path, way) : ways.delete(path)),
    })
  }

  /** For where a redirect led: it may challenge too, but it never gets an account. */
  forStranger(url: URL, path: RepositoryPath): Pass {
    const wayOf: WayOf = (challenge, scopes) =>
      wayFor(challenge, scopes, undefined, { url, isEndpoint: false, realms: [] })
    return new Pass(this.#options, defaultScopeOf(path), wayOf)
  }
}

const defaultScopeOf = (path: RepositoryPath): string => `repository:${path}:pull`

/** @throws {OciError} upstreamFailed, `realm` */
function wayFor(
  challenge: Challenge,
  scopes: readonly string[],
  account: Account | undefined,
  challenger: Parameters<typeof realmOf>[1],
): Way | undefined {
  if (challenge.scheme === 'basic') return account && { by: 'basic', account }
  const realm = realmOf(challenge.parameters.get('realm') ?? '', challenger)
  const asked = realm.mayHaveAccount ? account : undefined
  const need = { realm, service: challenge.parameters.get('service'), scopes, account: asked }
  return { by: 'bearer', need, isWithheld: asked !== account }
}

type Asking = Pick<CredentialsOptions, 'tokens' | 'identity' | 'isFresh'>
type Memory = { find(): Way | undefined; put(way: Way | undefined): void }

/** One request's way past the challenges it meets: one new token, one wider scope, and no more. */
export class Pass {
  readonly #tokens: Tokens
  readonly #isCaller: boolean
  readonly #isFresh: boolean
  readonly #defaultScope: string
  readonly #wayOf: WayOf
  readonly #memory: Memory | undefined
  #way: Way | undefined
  #token: Token | undefined
  /** Whether the token was held before this request: it may have been revoked since. */
  #isTokenOld = false
  #turns = 0
  #wasRenewed = false
  #wasWidened = false

  constructor({ tokens, identity, isFresh = false }: Asking, defaultScope: string, wayOf: WayOf, memory?: Memory) {
    this.#tokens = tokens
    this.#isCaller = identity.isCaller
    this.#isFresh = isFresh
    this.#defaultScope = defaultScope
    this.#wayOf = wayOf
    this.#memory = memory
    this.#way = memory?.find()
  }

  /**
   * What to send next; undefined where the token server refuses us.
   *
   * @throws {OciError} what getting a token throws; upstreamFailed, `realm`: it wants an account that it may not have
   */
  async findProof(signal: AbortSignal): Promise<Proof | undefined> {
    const way = this.#way
    if (!way) return { authorization: undefined, isPublic: !this.#isCaller }
    if (way.by === 'basic') return { authorization: await way.account.authorization(), isPublic: false }
    this.#token = await this.#tokenFor(way.need, signal)
    const isPublic = !this.#isCaller && way.need.account === undefined
    if (this.#token) return { authorization: `Bearer ${this.#token.text}`, isPublic }
    this.#memory?.put(undefined)
    if (way.isWithheld) throw withheld()
    return undefined
  }

  async #tokenFor(need: TokenNeed, signal: AbortSignal): Promise<Token | undefined> {
    if (this.#isFresh) return await this.#tokens.renew(need, signal)
    this.#isTokenOld = this.#tokens.find(need) !== undefined
    return await this.#tokens.get(need, signal)
  }

  /**
   * Learns from a 401 or 403 what to try next; false where nothing is left to try: that is a refusal.
   *
   * @throws {OciError} upstreamFailed, `realm`
   */
  learn({ status, headers }: Answer): boolean {
    const challenge = status === 401 ? chosenOf(challengesOf(linesOf(headers, 'www-authenticate'))) : undefined
    const isOver = ++this.#turns > TURNS_MAX
    if (!isOver && (challenge ? this.#meet(challenge) : this.#isTokenOld && this.#renew())) return true
    this.#memory?.put(undefined)
    if (this.#way?.by === 'bearer' && this.#way.isWithheld) throw withheld()
    return false
  }

  #meet(challenge: Challenge): boolean {
    const named = scopesOf(challenge)
    const sent = this.#way
    const next = this.#wayOf(challenge, named.length > 0 ? named : [this.#defaultScope])
    if (!next) return false
    if (!sent || sent.by !== next.by) return this.#take(next)
    if (next.by === 'basic' || !this.#token) return false // the same password again would be refused again
    const error = challenge.parameters.get('error')
    if (error === 'insufficient_scope' && !this.#isTokenOld) return this.#widen(next, sent)
    return this.#renew() && this.#take(next)
  }

  /** The scope that it names, if that is another one, and once. */
  #widen(next: Way, sent: Way): boolean {
    const asked = sent.by === 'bearer' ? sent.need.scopes : []
    const isWider = next.by === 'bearer' && next.need.scopes.some((scope) => !asked.includes(scope))
    if (!isWider || this.#wasWidened) return false
    this.#wasWidened = true
    return this.#take(next)
  }

  #take(way: Way): boolean {
    this.#way = way
    this.#memory?.put(way)
    return true
  }

  #renew(): boolean {
    if (this.#wasRenewed) return false
    this.#wasRenewed = true
    if (this.#token) this.#tokens.forget(this.#token)
    return true
  }
}

const withheld = () =>
  unusable('realm', 'the upstream wants credentials at a token realm that was not named for them (realms)')
