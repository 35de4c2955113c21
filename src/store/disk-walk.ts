import type { Digest } from '../oci/digest.ts'
import type { Books } from './books.ts'
import { type DiskError, diskErrorOf } from './disk-error.ts'
import type { Folder } from './folder.ts'
import { findSums } from './hashed.ts'
import { OpenBlobs, type RawBlob } from './open-blob.ts'

/**
 * What was found of a blob: `right` is its digest; `wrong` bytes have another; `lost` is a row without a file of its
 * size. `unknown`: it went meanwhile, the walk was ended, or a limit of ours was met.
 */
export type Verdict = 'right' | 'wrong' | 'lost' | 'unknown'

/** Asked after each piece, and told its bytes; where it says false the reading ends. Must not reject. */
type GoesOn = (bytes: number) => Promise<boolean> | boolean

export type VerifyOptions = {
  readonly goesOn?: GoesOn
  /** Nothing is set aside. */
  readonly isDry?: boolean
}

type Parts = {
  readonly books: () => Books
  readonly folder: () => Folder
  /** Sets the file of this inode aside. Never rejects. */
  readonly setAside: (digest: Digest, inode: number, why: string) => Promise<void>
  /** Drops a row without a file of its size, and sets aside what file there is. Never rejects. */
  readonly dropLost: (digest: Digest) => Promise<void>
  readonly onError: (error: DiskError) => void
}

/** All blobs, in an order that stays, each read and hashed. It is no use of them, and keeps none from eviction. */
export class DiskWalk {
  readonly #parts: Parts
  /** Of its own: what it reads may be removed meanwhile. */
  readonly #open = new OpenBlobs()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Up to `count` blobs that come after `after`; none where the books can't be read. */
  blobsAfter(after: Digest | undefined, count: number): readonly Digest[] {
    return this.#try('reading the books', (books) => books.digestsAfter(after ?? '', count)) ?? []
  }

  /** What was noted under this name. */
  findNote(name: string): string | undefined {
    return this.#try('reading the books', (books) => books.findFact(name))
  }

  note(name: string, value: string): void {
    this.#try('writing the books', (books) => books.putFact(name, value))
  }

  /** Hashes a blob; one that is wrong or lost is set aside. Never rejects. */
  async verify(digest: Digest, { goesOn = () => true, isDry = false }: VerifyOptions = {}): Promise<Verdict> {
    const found = this.#try('reading the books', (books) => books.find(digest))
    if (!found) return 'unknown'
    const path = this.#parts.folder().blob(digest)
    const opening = this.#open.open(digest, path, found.sizeBytes, this.#parts.onError)
    const raw = await opening.catch(() => 'unopened' as const) // whoever watches the disk was told
    if (raw === 'unopened') return 'unknown'
    if (!raw) return await this.#lost(digest, isDry)
    const told = await hashed(digest, raw, goesOn).finally(() => raw[Symbol.asyncDispose]())
    if (typeof told !== 'string') this.#keepSums(digest, told)
    else if (told === 'unknown') return told
    else if (!isDry) await this.#parts.setAside(digest, raw.inode, 'its bytes are not its digest')
    return told === 'wrong' ? told : 'right'
  }

  /** Unless it was evicted meanwhile. */
  async #lost(digest: Digest, isDry: boolean): Promise<Verdict> {
    if (!this.#try('reading the books', (books) => books.find(digest))) return 'unknown'
    if (!isDry) await this.#parts.dropLost(digest)
    return 'lost'
  }

  /** Those that the books lack, or have wrong. */
  #keepSums(digest: Digest, sums: Buffer): void {
    this.#try('writing the books', (books) => {
      const isKnown = books.find(digest)?.trust !== 'suspect' && books.findSums(digest)?.equals(sums)
      if (!isKnown) books.trust(digest, sums)
    })
  }

  #try<T>(doing: string, act: (books: Books) => T): T | undefined {
    try {
      return act(this.#parts.books())
    } catch (thrown) {
      this.#parts.onError(diskErrorOf(thrown, doing))
      return undefined
    }
  }
}

/** Its checksums where it is right. What can't be read is as good as wrong. */
async function hashed(digest: Digest, raw: RawBlob, goesOn: GoesOn): Promise<Buffer | 'wrong' | 'unknown'> {
  let isEnded = false
  try {
    const sums = await findSums(digest, raw, async (bytes) => {
      isEnded = !(await goesOn(bytes))
      return !isEnded
    })
    return sums ?? (isEnded ? 'unknown' : 'wrong')
  } catch (thrown) {
    return diskErrorOf(thrown, 'verifying a blob').isOurs ? 'unknown' : 'wrong'
  }
}
