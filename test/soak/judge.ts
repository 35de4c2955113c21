import { type Digest, digestOf, findDigest } from '../../src/oci/digest.ts'
import type { Got } from './fetch.ts'
import type { Truth } from './truth.ts'

/** What must be nought at the end. */
const CRIMES = [
  'wrong bodies',
  'leaks',
  'untrue tags',
  'false absences',
  'late answers',
  'failed without a fault',
  'internal errors',
  'unanswered',
  'crashes',
  'bad stops',
  'misnamed blobs',
  'books unlike disk',
  'left under way',
  'descriptors left',
  'memory left',
  'unhealed',
] as const
export type Crime = (typeof CRIMES)[number]

/** Answers begin within 20 s (contracts.md §5); the rest is a loaded machine's. */
const ANSWER_MS_MAX = 26_000
/** A verdict counts from when upstream was asked, which may take a while to answer. */
const VERDICT_MS_MAX = 66_000
/** A refusal is remembered for less than this. */
const REFUSAL_MS_MAX = 15_000
/** What an upstream did wrong is felt for less than this: a breaker, a rest, a backoff. */
const FELT_MS_MAX = 90_000
const TOLD_MAX = 20

/** How old an answer by tag may be: milliseconds since it was true. */
export type Windows = { readonly freshMs: number; readonly errorMs: number; readonly negativeMs: number }

/** What the judge must know of the world. */
export type Circumstances = {
  readonly truth: Truth
  readonly windows: Windows
  /** Bytes of everything there is. */
  readonly bytesOf: ReadonlyMap<Digest, Buffer>
  /** Whether the server was killed, stopped or suspended at any time from `fromMs` to `toMs`. */
  readonly wasDisturbed: (fromMs: number, toMs: number) => boolean
  /** Whether what began by `fromMs` and ended at `toMs` met a drain, which lets it end, and nothing worse. */
  readonly wasDrained: (fromMs: number, toMs: number) => boolean
  /** When upstream last did wrong in that way, for that digest or host. */
  readonly lastLieMs: (kind: 'flip' | 'digest' | 'length' | 'fault', about: string) => number | undefined
  /** When its clock was last behind what it had been: how old what it knew from before is, it can't know. */
  readonly doubtSinceMs: () => number
  /** Whether the first tenant had, or lacked, the right to what is his, at any moment of that time. */
  readonly hadRight: (isGiven: boolean, fromMs: number, toMs: number) => boolean
}

export type TagAsked = { readonly host: string; readonly path: string; readonly tag: string }

/** Says of each answer what it was; keeps the numbers, and what must never be. */
export class Judge {
  readonly counts = new Map<string, number>()
  /** The first few of each kind, in words. */
  readonly crimes = new Map<Crime, { count: number; readonly told: string[] }>()
  onCrime: (crime: Crime, what: string) => void = () => {}
  readonly #circumstances: Circumstances

  constructor(circumstances: Circumstances) {
    this.#circumstances = circumstances
    for (const crime of CRIMES) this.crimes.set(crime, { count: 0, told: [] })
  }

  get isClean(): boolean {
    return [...this.crimes.values()].every(({ count }) => count === 0)
  }

  accuse(crime: Crime, what: string): void {
    const found = this.crimes.get(crime)
    if (!found) return
    found.count += 1
    if (found.told.length < TOLD_MAX) found.told.push(what)
    this.onCrime(crime, what)
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by)
  }

  /** A blob, or a manifest by its digest, that exists upstream and may be shown. */
  content(got: Got, host: string, digest: Digest): void {
    this.#needless(got, host)
    if (!this.#common(got)) return
    if (got.status === 404) this.#falseAbsence(got, host)
    if (got.status === 200) this.#whole(got, digest)
    if (got.status === 206) this.#part(got, digest)
  }

  /** A manifest by tag. @returns the digest that it may be taken for */
  tag(got: Got, asked: TagAsked): Digest | undefined {
    this.#needless(got, asked.host)
    if (!this.#common(got)) return undefined
    if (got.status === 404) {
      this.#absentTag(got, asked)
      return undefined
    }
    const told = got.status === 200 ? findDigest(String(got.headers['docker-content-digest'])) : undefined
    if (got.status !== 200 || !told) return undefined
    if (got.method === 'GET' && got.isWhole) this.#whole(got, told)
    this.#trueTag(got, asked, told)
    return told
  }

  /** Something that this client may not have, or that is not there: no 200, and no byte of it. */
  forbidden(got: Got, what: string): void {
    if (!this.#common(got)) return
    const isShown = got.status === 200 || got.status === 206 || got.status === 304 || got.status === 416
    if (got.status === 401 || got.status === 404) this.count('content kept from who may not have it')
    if (isShown) this.accuse('leaks', `${got.method} ${got.path} got ${got.status}: ${what}`)
  }

  /**
   * Content of a private repository, asked for by who may read it. A right that is withdrawn ends within a minute;
   * while it is, or upstream says no by mistake, it is as if absent.
   */
  owned(got: Got, host: string, digest: Digest): void {
    if (!this.#common(got)) return
    const { hadRight } = this.#circumstances
    const answeredMs = got.headMs ?? got.endedMs
    if (got.status === 404) {
      const isTold = hadRight(false, got.beganMs - REFUSAL_MS_MAX, answeredMs)
      if (isTold || this.#hadFault(got, host, REFUSAL_MS_MAX)) this.count('rights that upstream denied')
      else this.accuse('false absences', `${got.method} ${got.path}: ${got.body}`)
      return
    }
    if (got.status === 401) this.accuse('unanswered', `${got.path}: 401 to who gave his name`)
    if (got.status !== 200 && got.status !== 206) return
    if (!hadRight(true, got.beganMs - VERDICT_MS_MAX, answeredMs)) {
      this.accuse('leaks', `${got.path} was shown more than a minute after the right to it was withdrawn`)
    }
    this.count('private content shown to its tenant')
    if (got.status === 200) this.#whole(got, digest)
    else this.#part(got, digest)
  }

  /** Anything else that is asked: it has an answer of these, or one that says that it cannot now. */
  answered(got: Got, statuses: readonly number[]): void {
    if (!this.#common(got) || got.status >= 500 || got.status === 429) return
    if (!statuses.includes(got.status)) {
      this.accuse('unanswered', `${got.method} ${got.path} got ${got.status}, not ${statuses.join(' or ')}`)
    }
  }

  /** Counts it. @returns whether there is an answer to judge further */
  #common(got: Got): boolean {
    const { wasDisturbed } = this.#circumstances
    const isDisturbed = wasDisturbed(got.beganMs, got.endedMs)
    const aboutMs = (got.headMs ?? got.endedMs) - got.beganMs
    if (aboutMs > ANSWER_MS_MAX && !isDisturbed) {
      this.accuse('late answers', `${got.method} ${got.path} began after ${Math.round(aboutMs)} ms`)
    }
    if (got.status === 0) {
      this.count(got.hasLeft ? 'left' : isDisturbed ? 'refused: down' : 'refused: unanswered')
      if (!got.hasLeft && !isDisturbed) this.accuse('unanswered', `${got.method} ${got.path}: ${got.why}`)
      return false
    }
    if (got.status >= 400) {
      this.count(`refused: ${refusalOf(got)}`)
      if (got.status === 500) this.accuse('internal errors', `${got.method} ${got.path}: ${got.body}`)
      return true
    }
    this.count(got.hasLeft ? 'left' : got.isWhole ? 'whole' : isDisturbed ? 'cut: down' : 'cut')
    return true
  }

  /** Upstream does no wrong, the server runs, the client stays: whatever befell the disk, there is no failure. */
  #needless(got: Got, host: string): void {
    const isWell = got.hasLeft || (got.status > 0 && got.status < 429 && got.isWhole)
    if (isWell || this.#isExcused(got)) return
    if (this.#hadFault(got, host, FELT_MS_MAX)) return
    const about = `${got.method} ${got.path} ${got.range ?? ''} got ${got.status}, ${got.body.length} bytes`
    this.accuse('failed without a fault', `${about}; ${got.why ?? got.headers['cache-status']}`)
  }

  #isExcused({ beganMs, headMs, endedMs }: Got): boolean {
    const { wasDisturbed, wasDrained } = this.#circumstances
    return wasDisturbed(beganMs, endedMs) && (headMs === undefined || !wasDrained(headMs, endedMs))
  }

  #hadFault(got: Got, host: string, ms: number): boolean {
    const lastMs = this.#circumstances.lastLieMs('fault', host)
    return lastMs !== undefined && lastMs > got.beganMs - ms
  }

  #whole(got: Got, digest: Digest): void {
    const { bytesOf } = this.#circumstances
    const told = got.headers['docker-content-digest']
    if (told !== digest) this.accuse('wrong bodies', `${got.path} says that it is ${told}`)
    const sizeBytes = bytesOf.get(digest)?.length
    const length = Number(got.headers['content-length'])
    if (got.method === 'HEAD') {
      if (length !== sizeBytes && !this.#wasLied('length', digest, got)) {
        this.accuse('wrong bodies', `HEAD ${got.path} says ${length} bytes, not ${sizeBytes}`)
      }
      return
    }
    const wrong = got.isWhole ? digestOf(got.body) !== digest : !startsAlike(got.body, bytesOf.get(digest))
    if (got.isWhole && wrong) {
      const { beganMs, endedMs } = got
      const about = `from ${Math.round(beganMs)} to ${Math.round(endedMs)} ms; ${differencesOf(got.body, bytesOf.get(digest))}`
      this.accuse('wrong bodies', `${got.path} came whole and is ${digestOf(got.body)}, ${about}`)
    } else if (wrong) this.count('wrong bytes that were cut off')
  }

  /** A range of what is held is right. One of what is on its way may be wrong until the whole is verified. */
  #part(got: Got, digest: Digest): void {
    const bytes = this.#circumstances.bytesOf.get(digest) ?? Buffer.alloc(0)
    const [, start, end, total] = /^bytes ([0-9]+)-([0-9]+)\/([0-9]+)$/.exec(got.headers['content-range'] ?? '') ?? []
    if (start === undefined) return // several parts: counted alone
    const isHit = /millpond; hit/.test(String(got.headers['cache-status']))
    const isUnverified = !isHit && this.#wasLied('flip', digest, got)
    if (Number(total) !== bytes.length && !this.#wasLied('length', digest, got)) {
      this.accuse('wrong bodies', `${got.path} says that it has ${total} bytes, not ${bytes.length}`)
    }
    if (!isAsked(got.range, Number(start), Number(end), Number(total))) {
      this.accuse('wrong bodies', `${got.path} gave ${got.headers['content-range']} for ${got.range}`)
    }
    const want = bytes.subarray(Number(start), Number(end) + 1)
    const isRight = got.isWhole ? want.equals(got.body) : startsAlike(got.body, want)
    if (isRight) return
    if (isUnverified || !got.isWhole) this.count('wrong bytes of unverified ranges')
    else this.accuse('wrong bodies', `${got.path} ${got.headers['content-range']}: not those bytes`)
  }

  #wasLied(kind: 'flip' | 'digest' | 'length' | 'fault', about: string, got: Got): boolean {
    const lastMs = this.#circumstances.lastLieMs(kind, about)
    return lastMs !== undefined && lastMs > got.beganMs - 60_000
  }

  /** It is there, so 404 is a lie, unless upstream's own word led to it. */
  #falseAbsence(got: Got, host: string): void {
    if (this.#wasLied('digest', host, got)) this.count('absences that upstream told')
    else this.accuse('false absences', `${got.method} ${got.path}: ${got.body}`)
  }

  #absentTag(got: Got, { host, path, tag }: TagAsked): void {
    const { truth, windows } = this.#circumstances
    const sinceMs = got.beganMs - windows.negativeMs - windows.errorMs
    if (truth.wasTrue(`${host}/${path}`, tag, undefined, sinceMs, got.endedMs)) return
    this.#falseAbsence(got, host)
  }

  #trueTag(got: Got, { host, path, tag }: TagAsked, digest: Digest): void {
    const { truth, windows, doubtSinceMs } = this.#circumstances
    const repository = `${host}/${path}`
    const answeredMs = got.headMs ?? got.endedMs
    const wasTrueWithin = (ms: number) => truth.wasTrue(repository, tag, digest, got.beganMs - ms, answeredMs)
    if (wasTrueWithin(windows.freshMs)) return
    if (got.method === 'HEAD' && this.#wasLied('digest', host, got)) {
      this.count('digests that upstream told')
      return
    }
    // a clock that was behind made it younger than it is, for as long as it may be shown at all
    const isUnsure = performance.now() < doubtSinceMs() + windows.errorMs && wasTrueWithin(Infinity)
    const isStandIn = /fwd=stale/.test(String(got.headers['cache-status']))
    const isWithin = wasTrueWithin(windows.errorMs) || isUnsure
    if (isStandIn && this.#hadFault(got, host, 20_000) && isWithin) {
      this.count('tags that stood in for upstream')
      return
    }
    const about = `${repository}:${tag} was told to be ${digest}; ${got.headers['cache-status']}`
    this.accuse('untrue tags', about)
  }
}

/** Where two bodies differ, to the first few stretches; runs that are close count as one. */
function differencesOf(got: Buffer, want: Buffer = Buffer.alloc(0)): string {
  const stretches: { start: number; end: number }[] = []
  for (let at = 0; at < Math.max(got.length, want.length); at++) {
    if (got[at] === want[at]) continue
    const last = stretches.at(-1)
    if (last && at - last.end < 64) last.end = at + 1
    else stretches.push({ start: at, end: at + 1 })
  }
  const told = stretches.slice(0, 5).map(({ start, end }) => `${start} to ${end}`)
  return `${got.length} bytes, ${stretches.length} stretches differ: ${told.join(', ')}`
}

const startsAlike = (part: Buffer, whole: Buffer | undefined): boolean =>
  whole !== undefined && part.length <= whole.length && whole.subarray(0, part.length).equals(part)

/** Whether a part is the one range that was asked for, as far as there are said to be bytes. */
function isAsked(range: string | undefined, start: number, end: number, sizeBytes: number): boolean {
  const [, from, to = ''] = /^bytes=([0-9]+)-([0-9]*)$/.exec(range ?? '') ?? []
  const last = sizeBytes - 1
  return from !== undefined && start === Number(from) && end === (to === '' ? last : Math.min(Number(to), last))
}

/** `502 UNAVAILABLE cut`: status, code, and what Cache-Status says went wrong. */
function refusalOf({ status, headers, body }: Got): string {
  const [, code = '-'] = /"code":"([A-Z_]+)"/.exec(body.toString('latin1', 0, 500)) ?? []
  const [, detail = ''] = /detail=([\w-]+)/.exec(String(headers['cache-status'])) ?? []
  return [status, code, detail].filter((each) => each !== '').join(' ')
}
