import { setImmediate } from 'node:timers/promises'
import type { Database } from 'better-sqlite3'
import { LRUCache } from 'lru-cache'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { parseTag, type Repository, type Tag } from '../oci/names.ts'
import type { Index, Link, Listing, ManifestFacts, Resolution } from './index.ts'
import { descriptorOf, factsOf, listingOf, resolutionOf, usersOfRows } from './rows.ts'
import { closeNoted } from './sqlite-file.ts'
import type { Standing } from './standing.ts'
import type { Statements } from './statements.ts'
import { Turns } from './turns.ts'

const REPOSITORIES_CACHED_MAX = 10_000
/** Rows of a tag's history. */
const HISTORY_MAX = 100
/** Listings of one repository: each page and filter asked for is one. */
const LISTINGS_MAX = 64
const LISTINGS_IN_ALL_MAX = 10_000
const REFERRERS_MAX = 1_000
/** Children a transaction: the loop goes on between two. */
const SLICE = 50

/** A database with the schema of this version, and what was met in it. */
export type OpenedIndex = {
  readonly db: Database
  readonly path: string
  readonly ask: Statements
  readonly told: { readonly isTorn: boolean }
  readonly standing: Standing
}

type Options = {
  /** @throws {DiskError} */
  readonly open: () => Promise<OpenedIndex>
  readonly mayOpenAnew: () => boolean
  readonly log: Log
}

/** The embedded index: one file beside the disk, one process. Each method is a few prepared statements. */
export class SqliteIndex implements Index {
  readonly #options: Options
  #opened: OpenedIndex
  /** A repository never loses its number. */
  readonly #numbers = new LRUCache<string, number>({ max: REPOSITORIES_CACHED_MAX })
  /** A manifest is put, and forgotten, in slices: one after the other. */
  readonly #turns = new Turns<Digest>()

  constructor(opened: OpenedIndex, options: Options) {
    this.#opened = opened
    this.#options = options
  }

  /**
   * Where the file is no longer the one that is open, or has turned out to be torn, another is opened there. The old
   * one answers until then, where it can. Never rejects.
   */
  async look(): Promise<void> {
    const { told, standing, db } = this.#opened
    const { mayOpenAnew, open, log } = this.#options
    if ((db.open && !told.isTorn && standing.isHere()) || !mayOpenAnew()) return
    log.warn({ torn: told.isTorn }, 'the index is opened anew')
    try {
      if (told.isTorn) db.close() // before the file can be set aside, or read as a whole
      const opened = await open()
      db.close()
      this.#opened = opened
      this.#numbers.clear()
    } catch (error) {
      log.error({ error }, 'the index could not be opened anew')
    }
  }

  async findResolution(repository: Repository, tag: Tag): Promise<Resolution | undefined> {
    const number = this.#findNumber(repository)
    const [row] = number === undefined ? [] : this.#ask.findPresent(number, tag)
    return row && resolutionOf(row)
  }

  async putResolution(repository: Repository, tag: Tag, digest: Digest, confirmedMs: number): Promise<void> {
    this.#write(() => {
      const number = this.#numberOf(repository)
      const [present] = this.#ask.findPresent(number, tag)
      if (present?.digest === digest) {
        this.#ask.confirm(present.id, confirmedMs)
        return
      }
      this.#ask.replacePresent(number, tag, confirmedMs)
      this.#ask.addResolution(number, tag, digest, confirmedMs)
      this.#ask.trimHistory(number, tag, HISTORY_MAX)
    })
  }

  async putGone(repository: Repository, tag: Tag, goneMs: number): Promise<void> {
    const number = this.#findNumber(repository)
    if (number !== undefined) this.#write(() => this.#ask.markGone(number, tag, goneMs))
  }

  /** What it pointed to stays in its history. */
  async forgetResolution(repository: Repository, tag: Tag): Promise<void> {
    const number = this.#findNumber(repository)
    if (number === undefined) return
    this.#write(() => {
      const [present] = this.#ask.findPresent(number, tag)
      if (present) this.#ask.replacePresent(number, tag, present.confirmed)
    })
  }

  async tagsOf(repository: Repository): Promise<readonly Tag[]> {
    const number = this.#findNumber(repository)
    return number === undefined ? [] : this.#ask.tags(number).map(({ tag }) => parseTag(tag))
  }

  async mayShow(repository: Repository, digest: Digest): Promise<boolean> {
    const number = this.#findNumber(repository)
    if (number === undefined) return false
    return this.#ask.findLink(number, digest).length > 0 || this.#ask.findPublicChild(number, digest).length > 0
  }

  async putLink({ repository, digest, isPublic }: Link): Promise<void> {
    this.#write(() => this.#ask.putLink(this.#numberOf(repository), digest, isPublic ? 1 : 0))
  }

  async forgetLink(repository: Repository, digest: Digest): Promise<void> {
    const number = this.#findNumber(repository)
    if (number !== undefined) this.#write(() => this.#ask.forgetLink(number, digest))
  }

  async findManifest(digest: Digest): Promise<ManifestFacts | undefined> {
    const [row] = this.#ask.findManifest(digest)
    return row && factsOf(row, this.#ask.children(digest))
  }

  putManifest(facts: ManifestFacts): Promise<void> {
    return this.#turns.run(facts.digest, () => this.#putManifest(facts))
  }

  /** Its links stay: upstream did answer for it. */
  forgetManifest(digest: Digest): Promise<void> {
    return this.#turns.run(digest, () => this.#forgetManifest(digest))
  }

  async findDescriptor(repository: Repository, digest: Digest): Promise<Descriptor | undefined> {
    const number = this.#findNumber(repository)
    const [row] = number === undefined ? [] : this.#ask.findDescriptor(number, digest)
    return row && descriptorOf(row)
  }

  async usersOf(
    digest: Digest,
  ): Promise<readonly { readonly repository: Repository; readonly tags: readonly Tag[] }[]> {
    return usersOfRows(this.#ask.users(digest))
  }

  async referrersOf(repository: Repository, subject: Digest): Promise<readonly ManifestFacts[]> {
    const number = this.#findNumber(repository)
    if (number === undefined) return []
    const rows = this.#ask.referrers(number, subject, REFERRERS_MAX)
    return rows.flatMap((row) => factsOf(row, this.#ask.children(row.digest)) ?? [])
  }

  async findListing(repository: Repository, key: string): Promise<Listing | undefined> {
    const number = this.#findNumber(repository)
    const [row] = number === undefined ? [] : this.#ask.findListing(number, key)
    return row && listingOf(row)
  }

  async putListing(repository: Repository, key: string, listing: Listing): Promise<void> {
    const { bytes, contentType, link, filters, confirmedMs } = listing
    this.#write(() => {
      const number = this.#numberOf(repository)
      this.#ask.forgetListing(number, key)
      this.#ask.addListing(number, key, bytes, contentType, link ?? null, filters ?? null, confirmedMs)
      this.#ask.trimListings(number, LISTINGS_MAX)
      this.#ask.trimAllListings(LISTINGS_IN_ALL_MAX)
    })
  }

  async forgetListings(repository: Repository): Promise<void> {
    const number = this.#findNumber(repository)
    if (number !== undefined) this.#write(() => this.#ask.forgetListings(number))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { db, path, told, standing } = this.#opened
    if (!db.open) return
    if (told.isTorn || !standing.isHere()) db.close()
    else closeNoted(db, path)
  }

  get #ask(): Statements {
    return this.#opened.ask
  }

  /** The manifest's own row comes last: until then it is unknown, whatever stopped us. */
  async #putManifest(facts: ManifestFacts): Promise<void> {
    const opened = this.#opened
    if (this.#ask.findManifest(facts.digest).length > 0) return
    for (let place = 0; place < facts.children.length; place += SLICE) {
      if (place > 0) await setImmediate()
      if (this.#opened !== opened) return await this.#putManifest(facts) // the new one has none of the slices before
      this.#write(() => this.#addChildren(facts, place, place + SLICE))
    }
    const { digest, mediaType, sizeBytes, subject, artifactType, annotations } = facts
    this.#write(() => {
      const json = annotations ? JSON.stringify(annotations) : null
      this.#ask.addManifest(digest, mediaType, sizeBytes, subject ?? null, artifactType ?? null, json)
    })
  }

  async #forgetManifest(digest: Digest): Promise<void> {
    const last = this.#ask.children(digest).length
    this.#write(() => this.#ask.forgetManifest(digest))
    for (let place = SLICE; place < last + SLICE; place += SLICE) {
      this.#write(() => this.#ask.forgetChildren(digest, place))
      await setImmediate()
    }
  }

  #addChildren({ digest: parent, children }: ManifestFacts, from: number, to: number): void {
    for (const [index, { digest, mediaType, sizeBytes, platform }] of children.slice(from, to).entries()) {
      this.#ask.addChild(parent, from + index, digest, mediaType, sizeBytes, platform ? JSON.stringify(platform) : null)
    }
  }

  /** One transaction that takes the lock at once: a read that becomes a write may fail with SQLITE_BUSY_SNAPSHOT. */
  #write(act: () => unknown): void {
    this.#opened.db.transaction(act).immediate()
  }

  /** For questions: whoever asks of a repository that we never met leaves no row. */
  #findNumber({ host, path }: Repository): number | undefined {
    const name = `${host}/${path}`
    const known = this.#numbers.get(name)
    if (known !== undefined) return known
    const [row] = this.#ask.findRepository(host, path)
    if (row) this.#numbers.set(name, row.id)
    return row?.id
  }

  #numberOf(repository: Repository): number {
    const found = this.#findNumber(repository)
    if (found !== undefined) return found
    this.#ask.addRepository(repository.host, repository.path)
    const [row] = this.#ask.findRepository(repository.host, repository.path)
    if (!row) throw new Error('a row that was just added is not there')
    return row.id
  }
}
