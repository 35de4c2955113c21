/*
 * registry: the face to clients, the /v2/ grammar and its answers.
 *
 * Promises: what a request means is decided from its raw URL before anything is looked up or dialled; every request is
 * answered once and told once, whatever goes wrong; a hit in memory is answered without a promise.
 * Knows nothing of disks and upstreams, and of the cache only what it asks it for.
 * Read next: request.ts, front.ts (the listener), exchange.ts (an answer's life).
 */
import { OciError } from '../base/errors.ts'
import type { CacheFacts } from '../cache/facts.ts'
import type { Exchange } from './exchange.ts'
import type { Listings } from './listings.ts'
import type { ManifestAnswers } from './manifests.ts'
import type { Realm } from './realm.ts'
import { answerReferrers } from './referrers.ts'
import { type Asked, nothingHere } from './request.ts'
import type { Requests } from './requests.ts'
import { answerTags } from './tags.ts'

export type AskedBlob = Extract<Asked, { route: 'blob' }>

/** Who answers what. */
export type RouteParts = {
  readonly requests: Requests
  readonly manifests: ManifestAnswers
  readonly listings: Listings
  /** Where there are private repositories: what challenges, and gives tokens. */
  readonly realm?: Realm | undefined
  readonly answerBlob: (exchange: Exchange, asked: AskedBlob) => Promise<void> | undefined
}

/** What upstream is to answer: a write, or a question about an upload. */
export type Passing = Extract<Asked, { route: 'manifest' | 'blob' | 'upload' }>

/** Of these, GET and HEAD come here for uploads alone. */
const PASSED_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])
const ANSWERED_HERE: CacheFacts = { hit: false, detail: 'local' }
const PING = Buffer.from('{}')
const PING_HEAD = ['Content-Type', 'application/json', 'Content-Length', String(PING.length)]

/**
 * Answers one request, or says that it is a write to be passed on. Nothing is thrown: what goes wrong is answered.
 * A promise is given only where the answer takes time; it never rejects.
 */
export function answer(exchange: Exchange, parts: RouteParts): Promise<void> | Passing | undefined {
  try {
    const { url = '', headers, method } = exchange.request
    const asked = onBehalf(parts.requests.parse(url, headers.host), headers.authorization, parts)
    exchange.asked = asked
    if (asked.route === 'token') return answerToken(exchange, parts)?.catch((error: unknown) => exchange.fail(error))
    const isRead = method === 'GET' || method === 'HEAD'
    if (!isRead || asked.route === 'upload') return passingOf(asked, method)
    return answerRead(exchange, asked, parts)?.catch((error: unknown) => exchange.fail(error))
  } catch (error) {
    exchange.fail(error)
    return undefined
  }
}

/** What is private is asked for on behalf of whom the request names. What is remembered of its URL names nobody. */
function onBehalf(asked: Asked, authorization: string | undefined, { realm }: RouteParts): Asked {
  if (!('target' in asked) || !asked.target.isPrivate) return asked
  const as = realm?.callers.find(authorization)
  return as ? { ...asked, target: { ...asked.target, repository: { ...asked.target.repository, as } } } : asked
}

function answerToken(exchange: Exchange, { realm }: RouteParts): Promise<void> | undefined {
  if (!realm) throw nothingHere()
  return realm.answer(exchange)
}

function answerRead(
  exchange: Exchange,
  asked: Exclude<Asked, { route: 'token' }>,
  parts: RouteParts,
): Promise<void> | undefined {
  switch (asked.route) {
    case 'manifest':
      return parts.manifests.answer(exchange, { repository: asked.target.repository, reference: asked.reference })
    case 'blob':
      exchange.digest = asked.digest
      return parts.answerBlob(exchange, asked)
    case 'tags':
      return answerTags(exchange, asked, parts.listings)
    case 'referrers':
      return answerReferrers(exchange, asked, parts.listings)
    case 'ping':
      parts.realm?.checkPing(exchange.request)
      exchange.send(200, PING_HEAD, PING, ANSWERED_HERE)
      return undefined
    case 'catalog':
      throw new OciError('notServed', 'the catalog is not served: names are private too')
    case 'upload':
      throw new OciError('notServed', 'uploads are not taken here')
    default:
      return asked satisfies never
  }
}

function passingOf(asked: Asked, method = ''): Passing {
  const isPassable = asked.route === 'manifest' || asked.route === 'blob' || asked.route === 'upload'
  if (isPassable && asked.target.registry.takesWrites && PASSED_METHODS.has(method)) return asked
  if (method === 'GET' || method === 'HEAD') throw new OciError('notServed', 'uploads are not taken here')
  throw new OciError('methodUnsupported', 'this registry is a cache that takes no writes for this repository')
}
