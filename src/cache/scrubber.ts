import { z } from 'zod'
import type { Outside } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Metrics } from '../base/metrics.ts'
import { KIB } from '../base/units.ts'
import { type Digest, findDigest } from '../oci/digest.ts'
import type { DiskWalk } from '../store/disk-walk.ts'

/** A start has other things to do first. */
const BEGINS_AFTER_MS = 60_000
/** From the begin of one pass to the next one's, at least. */
const PASS_EACH_MS = 24 * 3_600_000
/** How often it is noted where a pass is: what a kill costs at most. */
const NOTED_EACH_MS = 30_000
const PAGE = 100
/** What a blob costs at least of the rate: most are far smaller than what one read may bring. */
const COST_BYTES_MIN = 64 * KIB
/** The name of the note. */
const SCRUB = 'scrub'

type Parts = {
  readonly walk: Pick<DiskWalk, 'blobsAfter' | 'verify' | 'findNote' | 'note'>
  /** For each second; 0: nothing is read. */
  readonly rateBytes: number
  readonly outside: Outside
  readonly log: Log
  readonly metrics: Pick<Metrics, 'countScrubbed' | 'countScrubCorrupt'>
}

/** One pass over all blobs: it outlives a restart. `beganMs` is wall time, `after` the last blob that is done. */
const passJson = z.object({
  beganMs: z.number(),
  after: z.string().transform(findDigest).optional(),
  blobs: z.number(),
  bytes: z.number(),
  corrupt: z.number(),
  isOver: z.boolean(),
})
type Pass = Readonly<z.output<typeof passJson>>

/**
 * Reads all that is held, again and again, and compares it with its digest: what rots is found, and set aside, before
 * somebody asks for it. At a bounded rate, a piece a turn; after a restart it goes on where it stopped.
 */
export class Scrubber implements AsyncDisposable {
  readonly #parts: Parts
  readonly #closing = new AbortController()
  #passing: Promise<void> = Promise.resolve()
  #notedMs = 0

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** To be called once. */
  start(): void {
    if (this.#parts.rateBytes > 0) this.#passing = this.#goOn()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    await this.#passing
  }

  /** Never rejects. */
  async #goOn(): Promise<void> {
    const { clock } = this.#parts.outside
    await clock.sleep(BEGINS_AFTER_MS, this.#closing.signal)
    for (let pass = this.#findPass(); !this.#closing.signal.aborted; ) {
      if (!pass || pass.isOver) {
        const restMs = restMsOf(pass, clock.wallMs())
        if (restMs > 0) await clock.sleep(restMs, this.#closing.signal)
        pass = { beganMs: clock.wallMs(), blobs: 0, bytes: 0, corrupt: 0, isOver: false }
      }
      pass = await this.#walk(pass)
      this.#note(pass)
    }
  }

  /** @returns how far it came: to the end, or to where it was told to stop */
  async #walk(from: Pass): Promise<Pass> {
    const { walk, outside, log } = this.#parts
    let pass = from
    let page = walk.blobsAfter(pass.after, PAGE)
    for (; page.length > 0; page = walk.blobsAfter(pass.after, PAGE)) {
      for (const digest of page) {
        if (this.#closing.signal.aborted) return pass
        pass = await this.#scrub(digest, pass)
        if (outside.clock.monotonicMs() - this.#notedMs >= NOTED_EACH_MS) this.#note(pass)
      }
    }
    const { blobs, bytes, corrupt } = pass
    log[corrupt > 0 ? 'warn' : 'info']({ blobs, bytes, corrupt }, 'all that is held was read and compared')
    return { ...pass, isOver: true }
  }

  /** @returns the pass with this blob done; as it was where it was told to stop */
  async #scrub(digest: Digest, pass: Pass): Promise<Pass> {
    const { walk, metrics } = this.#parts
    let read = 0
    const goesOn = async (bytes: number) => {
      read += bytes
      metrics.countScrubbed(bytes)
      await this.#pay(bytes)
      return !this.#closing.signal.aborted
    }
    const verdict = await walk.verify(digest, { goesOn })
    await this.#pay(COST_BYTES_MIN - read)
    if (verdict === 'unknown' && this.#closing.signal.aborted) return pass
    const isCorrupt = verdict === 'wrong' || verdict === 'lost'
    if (isCorrupt) metrics.countScrubCorrupt()
    const { blobs, bytes, corrupt } = pass
    return { ...pass, after: digest, blobs: blobs + 1, bytes: bytes + read, corrupt: corrupt + (isCorrupt ? 1 : 0) }
  }

  /** Waits as long as so many bytes take at this rate. */
  async #pay(bytes: number): Promise<void> {
    const { outside, rateBytes } = this.#parts
    if (bytes > 0) await outside.clock.sleep((bytes / rateBytes) * 1000, this.#closing.signal)
  }

  #findPass(): Pass | undefined {
    try {
      return passJson.parse(JSON.parse(this.#parts.walk.findNote(SCRUB) ?? 'null'))
    } catch {
      return undefined // none was noted, or not by us: it begins anew
    }
  }

  #note(pass: Pass): void {
    this.#notedMs = this.#parts.outside.clock.monotonicMs()
    this.#parts.walk.note(SCRUB, JSON.stringify(pass))
  }
}

/** A wall clock that was set back makes no pass wait longer than from one to the next. */
function restMsOf(before: Pass | undefined, nowMs: number): number {
  if (!before) return 0
  return Math.min(Math.max(before.beganMs + PASS_EACH_MS - nowMs, 0), PASS_EACH_MS)
}
