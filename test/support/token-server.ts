import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Answer, Seen } from './misbehave.ts'

export type AuthOptions = {
  readonly kind: 'none' | 'basic' | 'bearer'
  /** User name → password. */
  readonly users?: Readonly<Record<string, string>>
  /** Repositories that need an account; without it none does (bearer) or all do (basic). */
  readonly isPrivate?: (path: string) => boolean
  /** Who may read what: asked when a token is given, and each time that one is shown. */
  readonly mayRead?: ((user: string | undefined, path: string) => boolean) | undefined
  /** What `expires_in` says, and how long a token lives; default 300. */
  readonly tokenTtlS?: number
  /** A token opens so many requests, then it is revoked. */
  readonly usesMax?: number
  readonly service?: string | null
  /** What the challenge names; default the scope that is needed, `null` for none. */
  readonly scope?: string | null
  /** Where the challenge sends clients; default `/token` of this server. */
  readonly realm?: string
  /** The whole WWW-Authenticate instead of the right one. */
  readonly challenge?: string | readonly string[]
}

export type TokenRequest = {
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly user: string | undefined
}
type Token = { readonly user: string | undefined; readonly scopes: readonly string[]; endMs: number; usesLeft: number }

/** Challenges, and gives and checks tokens, as a registry's token server does. */
export class TokenServer {
  readonly requests: TokenRequest[] = []
  readonly #options: AuthOptions
  readonly #tokens = new Map<string, Token>()

  constructor(options: AuthOptions) {
    this.#options = options
  }

  get given(): number {
    return this.#tokens.size
  }

  /** No token given so far opens anything any more. */
  revoke() {
    this.#tokens.clear()
  }

  /** The 401 or 403 for a request that may not pass; undefined lets it pass. */
  refusalOf(seen: Seen, origin: string): Answer | undefined {
    const { kind, isPrivate } = this.#options
    const isOpen = kind === 'none' || seen.kind === 'token'
    if (isOpen) return undefined
    const authorization = seen.headers.authorization ?? ''
    if (kind === 'basic') {
      if (isPrivate && seen.path && !isPrivate(seen.path)) return undefined
      return this.#userOf(authorization) === undefined ? this.#challenge('Basic realm="registry"', seen) : undefined
    }
    const token = this.#tokens.get(authorization.replace(/^Bearer /i, ''))
    const needed = `repository:${seen.path}:pull`
    const isAlive = token && token.endMs > performance.now() && token.usesLeft > 0
    if (!isAlive) return this.#challenge(this.#bearer(origin, needed, authorization && 'invalid_token'), seen)
    const isRevoked = seen.path && this.#options.mayRead?.(token.user, seen.path) === false
    if (isRevoked || (seen.path && !token.scopes.includes(needed))) {
      return this.#challenge(this.#bearer(origin, needed, 'insufficient_scope'), seen)
    }
    token.usesLeft--
    return undefined
  }

  /** Answers `GET /token?service=…&scope=…`. */
  answer(seen: Seen): Answer {
    const query = new URL(seen.url, 'http://token.test').searchParams
    const user = this.#userOf(seen.headers.authorization ?? '')
    this.requests.push({ url: seen.url, headers: seen.headers, user })
    if (seen.headers.authorization && user === undefined) return json(401, { errors: [{ code: 'UNAUTHORIZED' }] })
    const scopes = query.getAll('scope').filter((scope) => this.#isGiven(user, scope))
    const token = `tok-${randomUUID()}`
    const ttlS = this.#options.tokenTtlS ?? 300
    const endMs = performance.now() + ttlS * 1000
    this.#tokens.set(token, { user, scopes, endMs, usesLeft: this.#options.usesMax ?? Infinity })
    return json(200, { token, access_token: token, expires_in: ttlS, issued_at: '2020-01-01T00:00:00Z' })
  }

  #isGiven(user: string | undefined, scope: string): boolean {
    const path = scope.slice(scope.indexOf(':') + 1, scope.lastIndexOf(':'))
    const { isPrivate, mayRead } = this.#options
    return mayRead ? mayRead(user, path) : user !== undefined || !isPrivate?.(path)
  }

  #userOf(authorization: string): string | undefined {
    const [, encoded] = /^Basic (.+)$/i.exec(authorization) ?? []
    const [user = '', ...rest] = Buffer.from(encoded ?? '', 'base64')
      .toString()
      .split(':')
    return encoded && this.#options.users?.[user] === rest.join(':') ? user : undefined
  }

  #bearer(origin: string, needed: string, error: string): string {
    const { realm = `${origin}/token`, service = 'registry.test', scope = needed } = this.#options
    const parts = [`realm="${realm}"`]
    if (service !== null) parts.push(`service="${service}"`)
    if (scope !== null) parts.push(`scope="${scope}"`)
    if (error) parts.push(`error="${error}"`)
    return `Bearer ${parts.join(',')}`
  }

  #challenge(right: string, seen: Seen): Answer {
    const told = this.#options.challenge ?? right
    const answer = json(401, { errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }] })
    answer.headers['www-authenticate'] = typeof told === 'string' ? told : [...told]
    return { ...answer, isHead: seen.method === 'HEAD' }
  }
}

/** A JSON answer with its length. */
export function json(status: number, document: unknown): Answer {
  const body = Buffer.from(JSON.stringify(document))
  return {
    status,
    headers: { 'content-type': 'application/json', 'content-length': String(body.length) },
    body,
    isHead: false,
  }
}
