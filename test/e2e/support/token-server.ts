import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { SignJWT } from 'jose'
import { run } from './command.ts'
import type { Folder } from './folder.ts'
import { close, listen } from './http.ts'
import { debianTool } from './tools.ts'

export const SERVICE = 'registry.e2e'
export const ISSUER = 'token-server.e2e'
const LIFE_SECONDS = 300

/** Who may do what. Repositories below `private/` are shown to accounts alone; nobody without an account may push. */
export const READER = { username: 'bot', password: 'bot-password' } as const
export const PUSHER = { username: 'pusher', password: 'pusher-password' } as const
export const PRIVATE_PREFIX = 'private/'
/** Each sees what is below `tenant-<name>/`, and nobody else does. */
export const ALICE = { username: 'alice', password: 'alice-password' } as const
export const BOB = { username: 'bob', password: 'bob-password' } as const
const TENANT = /^tenant-([a-z]+)\//

type Access = { readonly type: string; readonly name: string; readonly actions: readonly string[] }

/** Docker's token authentication (distribution 2.8, "Token Authentication Specification"): ES256, chain in `x5c`. */
export class TokenServer implements AsyncDisposable {
  readonly certificateFile: string
  readonly #server: Server
  readonly #key: ReturnType<typeof createPrivateKey>
  readonly #chain: readonly string[]
  #url = ''
  /** Requests answered with a token, by account name; '' is nobody. */
  readonly tokensOf = new Map<string, number>()
  /** Requests with credentials that are nobody's. */
  refused = 0
  /** Accounts that see nothing any more, by name. Tokens that they have go on to their end, as real ones do. */
  readonly revoked = new Set<string>()

  static async open(folder: Folder): Promise<TokenServer> {
    const keyFile = folder.join('token.key')
    const certificateFile = folder.join('token.crt')
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    const paper = ['-x509', '-days', '2', '-subj', `/CN=${ISSUER}`, '-keyout', keyFile, '-out', certificateFile]
    await run(debianTool('openssl'), ['req', ...curve, ...paper])
    const opened = new TokenServer(certificateFile, await readFile(keyFile, 'utf8'), await readFile(certificateFile))
    opened.#url = await listen(opened.#server)
    return opened
  }

  private constructor(certificateFile: string, keyPem: string, certificatePem: Buffer) {
    this.certificateFile = certificateFile
    this.#key = createPrivateKey(keyPem)
    this.#chain = [new X509Certificate(certificatePem).raw.toString('base64')]
    this.#server = createServer((request, response) => void this.#answer(request, response))
  }

  get realm(): string {
    return `${this.#url}/token`
  }

  /** A token as the server itself would give it, for the parts of the upstream that trust each other. */
  issue(repository: string, actions: readonly string[]): Promise<string> {
    return this.#sign('upstream', [{ type: 'repository', name: repository, actions }])
  }

  [Symbol.asyncDispose](): Promise<void> {
    return close(this.#server)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.#url)
    const who = accountOf(request.headers.authorization)
    if (url.pathname !== '/token' || who === undefined) {
      this.refused += who === undefined ? 1 : 0
      response.writeHead(url.pathname === '/token' ? 401 : 404, { 'content-type': 'application/json' })
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"no such account"}]}')
      return
    }
    this.tokensOf.set(who, (this.tokensOf.get(who) ?? 0) + 1)
    const asked = url.searchParams.getAll('scope').flatMap((text) => text.split(' '))
    const token = await this.#sign(who, this.revoked.has(who) ? [] : asked.flatMap((scope) => accessOf(scope, who)))
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ token, access_token: token, expires_in: LIFE_SECONDS }))
  }

  #sign(subject: string, access: readonly Access[]): Promise<string> {
    return new SignJWT({ access })
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT', x5c: [...this.#chain] })
      .setIssuer(ISSUER)
      .setAudience(SERVICE)
      .setSubject(subject)
      .setIssuedAt()
      .setNotBefore('-10s')
      .setExpirationTime(`${LIFE_SECONDS}s`)
      .sign(this.#key)
  }
}

/** The account's name, '' for nobody, undefined for credentials that are wrong. */
function accountOf(authorization: string | undefined): string | undefined {
  if (authorization === undefined) return ''
  const told = Buffer.from(authorization.replace(/^Basic /i, ''), 'base64').toString()
  return [READER, PUSHER, ALICE, BOB].find((one) => told === `${one.username}:${one.password}`)?.username
}

/** What of a scope is granted. Less than was asked for is no error: the registry tells. */
function accessOf(scope: string, who: string): readonly Access[] {
  const [, type, name = '', asked = ''] = /^([a-z]+):(.+):([a-z,*]+)$/.exec(scope) ?? []
  if (type !== 'repository') return []
  const [, tenant] = TENANT.exec(name) ?? []
  const mayPull = tenant === undefined ? who !== '' || !name.startsWith(PRIVATE_PREFIX) : who === tenant
  const mayPush = who === PUSHER.username
  const actions = asked.split(',').filter((action) => (action === 'pull' ? mayPull : mayPush))
  return actions.length === 0 ? [] : [{ type, name, actions }]
}
