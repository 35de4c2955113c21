import type { Database, Statement } from 'better-sqlite3'
import { LRUCache } from 'lru-cache'
import { type Digest, findDigest } from '../oci/digest.ts'
import { migrateBooks } from './books-schema.ts'
import { closeNoted, openExclusively } from './sqlite-file.ts'

/** What the books say of a blob. `usedMs` is wall time. */
export type Entry = { readonly digest: Digest; readonly sizeBytes: number; readonly usedMs: number }
export type FoundBlob = Entry

/** Where a walk by last use goes on. */
export type Cursor = { readonly usedMs: number; readonly digest: Digest }

/**
 * How much a blob's bytes are trusted. `new`: entered since the last clean stop, as good as the page cache.
 * `suspect`: was new when the machine went down; it is hashed before it is served. `sure`: a clean stop came after it.
 */
export type Trust = 'new' | 'suspect' | 'sure'

const TRUST: readonly Trust[] = ['new', 'suspect', 'sure']
const CACHED_MAX = 50_000
/** A touch is written when the last use in the books is older. */
const TOUCH_EACH_MS = 3_600_000
/** Uses that wait to be written; beyond it they are known to memory alone. */
const UNTOLD_MAX = 10_000
/** Rows a transaction: a thousand would stop the loop for 60 ms (M). */
const SLICE = 50
/** Slices that one walk may write: some 3 ms. */
const TURNS_MAX = 4

/** The fact that saves counting at the next start. */
const TOTALS = 'totals'

type Row = { readonly digest: string; readonly size: number; readonly used: number; readonly trust: number }
export type Found = { readonly sizeBytes: number; readonly usedMs: number; readonly trust: Trust }
type Cached = Found & { writtenMs: number; usedMs: number }

/**
 * What is on the disk, how large, last used when. One writer, which is this process: opened exclusively, and that is
 * the folder's lock. Every method is synchronous and short; a look-up is answered from memory or a prepared statement.
 */
export class Books {
  readonly #db: Database
  readonly #path: string
  readonly #find: Statement<[string], Row>
  readonly #enter: Statement<[string, number, number, number]>
  readonly #drop: Statement<[string]>
  readonly #touch: Statement<[number, string]>
  readonly #findSums: Statement<[string], { sums: Buffer }>
  readonly #putSums: Statement<[string, Buffer]>
  readonly #oldest: Statement<[number, string, number], Row>
  readonly #cached: LRUCache<Digest, Cached>
  readonly #untold = new Map<Digest, Cached>()
  #blobs = 0
  #bytes = 0
  #lastUseMs = 0

  /**
   * Opens the books at `path`.
   * @throws {DiskError} where another process or a later version has them
   * @throws the library's error where they are torn
   */
  static open(path: string): Books {
    const { db, wasClosed } = openExclusively(path)
    try {
      return new Books(db, path, wasClosed)
    } catch (error) {
      db.close()
      throw error
    }
  }

  private constructor(db: Database, path: string, wasClosed: boolean) {
    migrateBooks(db, path)
    this.#db = db
    this.#path = path
    this.#find = db.prepare('SELECT digest, size, used, trust FROM blobs WHERE digest = ?')
    this.#enter = db.prepare('INSERT OR REPLACE INTO blobs (digest, size, used, trust) VALUES (?, ?, ?, ?)')
    this.#drop = db.prepare('DELETE FROM blobs WHERE digest = ?')
    this.#touch = db.prepare('UPDATE blobs SET used = ? WHERE digest = ?')
    this.#findSums = db.prepare('SELECT sums FROM checksums WHERE digest = ?')
    this.#putSums = db.prepare('INSERT OR REPLACE INTO checksums (digest, sums) VALUES (?, ?)')
    this.#oldest = db.prepare(
      'SELECT digest, size, used, trust FROM blobs WHERE (used, digest) > (?, ?) ORDER BY used, digest LIMIT ?',
    )
    this.#cached = new LRUCache({ max: CACHED_MAX })
    const total = (wasClosed && this.#findNotedTotals()) || this.#countTotals()
    this.#blobs = total.blobs
    this.#bytes = total.bytes
    this.#lastUseMs =
      db.prepare<[], { used: number }>('SELECT ifnull(max(used), 0) AS used FROM blobs').get()?.used ?? 0
  }

  get blobs(): number {
    return this.#blobs
  }

  get bytes(): number {
    return this.#bytes
  }

  find(digest: Digest): Found | undefined {
    return this.#lookUp(digest)
  }

  /** A blob has just come, with the checksums of its blocks. */
  enter(digest: Digest, sizeBytes: number, nowMs: number, sums: Buffer): void {
    this.#putSums.run(digest, sums) // first: a blob without them would be hashed before it is served
    this.#add(digest, sizeBytes, this.#stampOf(nowMs), 'new')
  }

  /** The checksums of a blob's blocks; undefined where none were taken: it was found in the folder. */
  findSums(digest: Digest): Buffer | undefined {
    return this.#findSums.get(digest)?.sums
  }

  /** Blobs were found in the folder; when they were last used is a guess. */
  enterFound(blobs: readonly FoundBlob[], trust: Trust): void {
    const enter = this.#db.transaction(() => {
      for (const { digest, sizeBytes, usedMs } of blobs) this.#add(digest, sizeBytes, usedMs, trust)
    })
    enter.immediate()
  }

  /** @returns the row that there was; undefined where there was none */
  drop(digest: Digest): Found | undefined {
    const found = this.#lookUp(digest)
    if (!found) return undefined
    this.#drop.run(digest)
    this.#cached.delete(digest)
    this.#untold.delete(digest)
    this.#blobs -= 1
    this.#bytes -= found.sizeBytes
    return found
  }

  /** The bytes were hashed and are right, and these are the checksums of their blocks. */
  trust(digest: Digest, sums: Buffer): void {
    const found = this.#lookUp(digest)
    if (!found) return
    this.#putSums.run(digest, sums)
    if (found.trust === 'suspect') this.#put(digest, found.sizeBytes, found.usedMs, 'new')
  }

  /** Notes a use. Written later, and only if what is written is an hour older. @returns whether there is a row */
  touch(digest: Digest, nowMs: number): boolean {
    const found = this.#lookUp(digest)
    if (!found) return false
    found.usedMs = this.#stampOf(nowMs)
    const isDue = found.usedMs - found.writtenMs > TOUCH_EACH_MS && this.#untold.size < UNTOLD_MAX
    if (isDue) this.#untold.set(digest, found)
    return true
  }

  /** Whether there are uses that should be written. */
  get hasUntold(): boolean {
    return this.#untold.size > 0
  }

  /** Writes one slice of the uses noted. @returns whether there are more */
  writeTouches(): boolean {
    const slice: [Digest, Cached][] = []
    for (const use of this.#untold) {
      slice.push(use)
      if (slice.length === SLICE) break
    }
    this.#writeUses(slice)
    for (const [digest] of slice) this.#untold.delete(digest)
    return this.hasUntold
  }

  /**
   * Blobs by last use, the least recent first, from after `after`. Uses that only memory knows of are written first
   * where they would change the order; no more of them than the loop can spare, beyond which the order is nearly this.
   */
  leastRecentlyUsed(count: number, after?: Cursor): readonly Entry[] {
    for (let turn = 0; ; turn += 1) {
      const rows = this.#oldest.all(after?.usedMs ?? -1, after?.digest ?? '', count).flatMap(entryOf)
      const moved = rows.flatMap(({ digest, usedMs }): [Digest, Cached][] => {
        const cached = this.#cached.peek(digest)
        return cached && cached.usedMs > usedMs ? [[digest, cached]] : []
      })
      if (moved.length === 0) return rows
      if (turn === TURNS_MAX) return unlessAll(rows, new Map(moved))
      this.#writeUses(moved.slice(0, SLICE))
    }
  }

  /** A fact of these books as a whole. */
  findFact(name: string): string | undefined {
    return this.#db.prepare<[string], { value: string }>('SELECT value FROM facts WHERE name = ?').get(name)?.value
  }

  putFact(name: string, value: string): void {
    this.#db.prepare('INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)').run(name, value)
  }

  /** Moves every blob of trust `from` to `to`. */
  moveTrust(from: Trust, to: Trust): void {
    // Written out, not bound: only so does the partial index serve.
    this.#db.exec(`UPDATE blobs SET trust = ${TRUST.indexOf(to)} WHERE trust = ${TRUST.indexOf(from)} AND trust < 2`)
    this.#cached.clear()
  }

  /** Up to `count` digests that have a row, in order, after `after`. */
  digestsAfter(after: string, count: number): readonly Digest[] {
    const page = this.#db.prepare<[string, number], { digest: string }>(
      'SELECT digest FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?',
    )
    const digests: Digest[] = []
    for (const row of page.all(after, count)) {
      const digest = findDigest(row.digest)
      if (digest) digests.push(digest)
      else this.#drop.run(row.digest) // nothing that we entered: a flipped bit
    }
    return digests
  }

  /** Every digest that has a row, in order, a slice at a time. */
  *digests(): Iterable<Digest> {
    let page = this.digestsAfter('', 1000)
    for (let last = page.at(-1); last; last = page.at(-1)) {
      yield* page
      page = this.digestsAfter(last, 1000)
    }
  }

  /** What was told so far outlives a power cut. */
  flush(): void {
    this.#db.pragma('wal_checkpoint(FULL)')
  }

  /** @throws the library's error, where they could not be closed as whole: the next start checks them */
  close(): void {
    try {
      while (this.hasUntold) this.writeTouches()
      this.putFact(TOTALS, `${this.#blobs} ${this.#bytes}`)
    } catch (error) {
      this.#db.close()
      throw error
    }
    closeNoted(this.#db, this.#path)
  }

  /** Closes torn books, which the next start checks. */
  abandon(): void {
    this.#db.close()
  }

  #findNotedTotals(): { blobs: number; bytes: number } | undefined {
    const [blobs, bytes] = (this.findFact(TOTALS) ?? '').split(' ').map(Number)
    return blobs !== undefined && bytes !== undefined ? { blobs, bytes } : undefined
  }

  #countTotals(): { blobs: number; bytes: number } {
    const count = this.#db.prepare<[], { blobs: number; bytes: number }>(
      'SELECT count(*) AS blobs, ifnull(sum(size), 0) AS bytes FROM blobs',
    )
    return count.get() ?? { blobs: 0, bytes: 0 }
  }

  #lookUp(digest: Digest): Cached | undefined {
    const cached = this.#cached.get(digest)
    if (cached) return cached
    const row = this.#find.get(digest)
    if (!row) return undefined
    const found = { sizeBytes: row.size, usedMs: row.used, writtenMs: row.used, trust: TRUST[row.trust] ?? 'suspect' }
    this.#cached.set(digest, found)
    return found
  }

  #add(digest: Digest, sizeBytes: number, usedMs: number, trust: Trust): void {
    const before = this.#lookUp(digest)
    const used = this.#put(digest, sizeBytes, usedMs, trust)
    this.#bytes += sizeBytes - (before?.sizeBytes ?? 0)
    if (!before) this.#blobs += 1
    this.#lastUseMs = Math.max(this.#lastUseMs, used)
  }

  #put(digest: Digest, sizeBytes: number, usedMs: number, trust: Trust): number {
    const used = Math.max(0, Math.floor(usedMs))
    this.#enter.run(digest, sizeBytes, used, TRUST.indexOf(trust))
    this.#untold.delete(digest)
    this.#cached.set(digest, { sizeBytes, usedMs: used, writtenMs: used, trust })
    return used
  }

  #writeUses(uses: readonly (readonly [Digest, Cached])[]): void {
    const write = this.#db.transaction(() => {
      for (const [digest, { usedMs }] of uses) this.#touch.run(usedMs, digest)
    })
    write.immediate()
    for (const [, cached] of uses) cached.writtenMs = cached.usedMs
  }

  /** Uses never go back: a wall clock that stepped back must not make the newest blob the oldest. */
  #stampOf(nowMs: number): number {
    this.#lastUseMs = Math.max(this.#lastUseMs, Math.floor(nowMs))
    return this.#lastUseMs
  }
}

/** The rows that memory does not know better; were there none, all of them as memory knows them. */
function unlessAll(rows: readonly Entry[], better: ReadonlyMap<Digest, Cached>): readonly Entry[] {
  const right = rows.filter(({ digest }) => !better.has(digest))
  if (right.length > 0) return right
  return rows.toSorted((a, b) => (better.get(a.digest)?.usedMs ?? 0) - (better.get(b.digest)?.usedMs ?? 0))
}

function entryOf(row: Row): Entry[] {
  const digest = findDigest(row.digest)
  return digest ? [{ digest, sizeBytes: row.size, usedMs: row.used }] : []
}
