import { LRUCache } from 'lru-cache'
import type { RepositoryPath } from '../oci/names.ts'
import type { Account, Accounts } from './accounts.ts'
import { type Challenge, challengesOf, chosenOf, scopesOf } from './challenge.ts'
import { unusable } from './failure.ts'
import { linesOf } from './headers.ts'
import { realmOf } from './realm.ts'
import type { Token, TokenNeed, Tokens } from './tokens.ts'
import type { Answer } from './wire.ts'

const REMEMBERED_MAX = 4_096
/** Challenges met for one request: a first one, a renewed token, a wider scope, another scheme. */
const TURNS_MAX = 4

/** How a repository wants to be asked, as its last challenge told. */
type Way =
  | { readonly by: 'basic'; readonly account: Account }
  | { readonly by: 'bearer'; readonly need: TokenNeed; readonly isWithheld: boolean }

type WayOf = (challenge: Challenge, scopes: readonly string[]) => Way | undefined

export type Proof = { readonly authorization: string | undefined; readonly isPublic: boolean }

type CredentialsOptions = {
  readonly endpoint: URL
  readonly realms: readonly string[]
  readonly accounts: Accounts
  readonly tokens: Tokens
}

/** How one endpoint's challenges are met. A repository's last one is remembered: a warm pull costs no 401. */
export class Credentials {
  readonly #options: CredentialsOptions
  readonly #remembered = new LRUCache<RepositoryPath, Way>({ max: REMEMBERED_MAX })

  constructor(options: CredentialsOptions) {
    this.#options = options
  }

  /** For one request at the endpoint itself. */
  forEndpoint(path: RepositoryPath): Pass {
    const { endpoint, realms, tokens, accounts } = this.#options
    const account = accounts.find(path)
    const wayOf: WayOf = (challenge, scopes) =>
      wayFor(challenge, scopes, account, { url: endpoint, isEndpoint: true, realms })
    return new Pass(tokens, defaultScopeOf(path), wayOf, {
      find: () => this.#remembered.get(path),
      put: (way) => (way ? this.#remembered.set(path, way) : this.#remembered.delete(path)),
    })
  }

  /** For where a redirect led: it may challenge too, but it never gets an account. */
  forStranger(url: URL, path: RepositoryPath): Pass {
    const wayOf: WayOf = (challenge, scopes) =>
      wayFor(challenge, scopes, undefined, { url, isEndpoint: false, realms: [] })
    return new Pass(this.#options.tokens, defaultScopeOf(path), wayOf)
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

type Memory = { find(): Way | undefined; put(way: Way | undefined): void }

/** One request's way past the challenges it meets: one new token, one wider scope, and no more. */
export class Pass {
  readonly #tokens: Tokens
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

  constructor(tokens: Tokens, defaultScope: string, wayOf: WayOf, memory?: Memory) {
    this.#tokens = tokens
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
    if (!way) return { authorization: undefined, isPublic: true }
    if (way.by === 'basic') return { authorization: await way.account.authorization(), isPublic: false }
    this.#isTokenOld = this.#tokens.find(way.need) !== undefined
    this.#token = await this.#tokens.get(way.need, signal)
    if (this.#token) return { authorization: `Bearer ${this.#token.text}`, isPublic: way.need.account === undefined }
    this.#memory?.put(undefined)
    if (way.isWithheld) throw withheld()
    return undefined
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
