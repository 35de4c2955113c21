import type { Act, Rule, Seen } from '../support/misbehave.ts'
import type { Random } from './random.ts'
import type { Fault, Lie } from './schedule.ts'

/** What a lie needs of the world. */
export type Liar = {
  readonly thief: string
  /** Bytes of what is asked for, or NaN. */
  readonly sizeOf: (digest: string) => number
  /** Told of each request that is lied to. */
  readonly onLie: (lie: Lie, seen: Seen) => void
  readonly nowMs: () => number
  readonly random: Random
}

type Kinds = readonly Seen['kind'][]
const BLOBS: Kinds = ['blob']
const MANIFESTS: Kinds = ['manifest']
const BOTH: Kinds = ['blob', 'manifest']
/** By these an upstream says yes to whoever asks. */
const YESES: readonly Lie[] = ['page', 'to the thief']
const RANGES = ['range ignored', 'range shifted', 'range of another total', 'range without total', 'multipart']

/** As a rule of a fake upstream: for the next few requests that it can be told to, within the fault's time. */
export function ruleOf(fault: Fault, liar: Liar): Rule {
  const { lie, times, lastsMs } = fault
  const untilMs = liar.nowMs() + lastsMs
  const kinds = kindsOf(lie)
  const match = (seen: Seen): boolean => {
    const isSpared = seen.path.startsWith('evil/') || (seen.path.startsWith('mine/') && YESES.includes(lie))
    const isOfKind = kinds.includes(seen.kind) && !isSpared
    const isOfMethod = lie === 'other digest' ? seen.method === 'HEAD' : seen.method === 'GET' || isStatus(lie)
    const isOfRange = !(RANGES.includes(lie) || lie === 'unsatisfiable') || seen.range !== undefined
    return isOfKind && isOfMethod && isOfRange && liar.nowMs() < untilMs
  }
  const act = (seen: Seen): Act => {
    liar.onLie(lie, seen)
    return actOf(fault, seen, liar)
  }
  return { match, times, act }
}

function kindsOf(lie: Lie): Kinds {
  switch (lie) {
    case 'other digest':
      return MANIFESTS
    case 'page':
    case '429':
    case '5xx':
    case 'hang':
    case 'refuse':
    case 'realm of the thief':
    case 'flip':
    case 'gzip':
      return BOTH
    default:
      return BLOBS
  }
}

const isStatus = (lie: Lie): boolean => ['429', '5xx', 'hang', 'refuse', 'realm of the thief'].includes(lie)

const realmAt = (origin: string): string => `Bearer realm="${origin}/token",service="x"`
/** By this name it is another host than the upstreams, whose own host may have realms on any port. */
const strangerOf = (thief: string): string => thief.replace('127.0.0.1', 'localhost')

function actOf({ lie, part, otherPart, isEven }: Fault, seen: Seen, { thief, sizeOf, random }: Liar): Act {
  const sizeBytes = sizeOf(seen.reference) || 1_000
  const at = Math.floor(part * sizeBytes)
  switch (lie) {
    case 'cut':
      return { cutAfter: at }
    case 'reset':
      return { resetAfter: at }
    case 'stall':
      return { stallAfter: at }
    case 'drip':
      return { bytesPerSecond: 100 + Math.floor(part * 900) }
    case 'flip':
      // a manifest by tag is believed if it comes twice the same: another byte each time
      if (seen.kind === 'manifest') return { corruptAt: Math.floor(random.next() * sizeBytes) }
      return { corruptAt: isEven ? -1 : Math.floor(otherPart * sizeBytes) }
    case 'surplus':
      return { surplus: 'HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged' }
    case 'shorter':
      return { lengthBy: -Math.min(at, sizeBytes) }
    case 'longer':
      return { lengthBy: 1 + at }
    case 'page':
      return { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>please sign in</html>' }
    case 'other digest':
      return { headers: { 'docker-content-digest': `sha256:${'ab'.repeat(32)}` } }
    case '429':
      return { status: 429, headers: { 'retry-after': '1' }, body: '{}' }
    case '5xx':
      return { status: isEven ? 500 : 503, body: 'out of order' }
    case 'hang':
      return { hang: true }
    case 'refuse':
      return { refuse: true }
    case 'to the thief':
      return { redirect: `${isEven ? thief : strangerOf(thief)}/v2/x/blobs/${seen.reference}?sig=told-to-thief` }
    case 'realm of the thief':
      return { status: 401, headers: { 'www-authenticate': realmAt(strangerOf(thief)) }, body: '{}' }
    case 'chunked':
      return { framing: 'chunked' }
    case 'without length':
      return { framing: 'close' }
    case 'http 1.0 reset':
      return { framing: 'http10', resetAfter: at }
    case 'range ignored':
      return { range: 'ignore' }
    case 'range shifted':
      return { range: 'shifted' }
    case 'range of another total':
      return { range: 'otherTotal' }
    case 'range without total':
      return { range: 'unknownTotal' }
    case 'multipart':
      return { range: 'multipart' }
    case 'unsatisfiable':
      return { range: 'unsatisfiable' }
    case 'gzip':
      return { encoding: 'gzip' }
    case 'expired':
      return { status: 403, body: '<Error><Code>AccessDenied</Code></Error>' }
    default:
      return lie satisfies never
  }
}
