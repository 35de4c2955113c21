import type { Clock } from '../base/clock.ts'
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts'
import { Blocks } from './blocks.ts'
import type { Books, Found } from './books.ts'
import { CheckedBlob, type OnWrong, readOrBlame } from './checked-blob.ts'
import { type Check, Checks } from './checks.ts'
import { DiskError, diskErrorOf } from './disk-error.ts'
import { findSums } from './hashed.ts'
import type { OpenBlob, RawBlob } from './open-blob.ts'

type Parts = {
  /** What the books say. */
  readonly find: (digest: Digest) => Found | undefined
  /** Those that are open now. */
  readonly books: () => Pick<Books, 'findSums' | 'trust'>
  readonly clock: Clock
  /** Undefined where there is no such file, or one of another size. @throws {DiskError} */
  readonly openRaw: (digest: Digest) => Promise<RawBlob | undefined>
  /** Sets the file of this inode aside. Never rejects. */
  readonly setAside: (digest: Digest, inode: number, why: string) => Promise<void>
  readonly onError: (error: DiskError) => void
}

/**
 * What stands between a disk's bytes and those who ask: nothing is given that was not compared with what was verified,
 * by checksum or by digest. What is wrong is set aside.
 */
export class CheckedReads {
  readonly #parts: Parts
  readonly #checks: Checks
  readonly #blocks = new Blocks()
  readonly #proving = new Map<Digest, Promise<boolean>>()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#checks = new Checks(parts.clock)
  }

  /**
   * Opens a blob for one reader, who begins at `offset`: what is wrong there is told before an answer begins. One
   * without checksums, or from before a power cut, is hashed first.
   * @throws {DiskError} and the reads of what it gives, of kind `wrong` where the blob was set aside
   */
  async open(digest: Digest, offset: number): Promise<OpenBlob | undefined> {
    if (!this.#findCheck(digest) && !(await this.#prove(digest))) return undefined
    const raw = await this.#parts.openRaw(digest)
    const check = raw && this.#findCheck(digest)
    if (!check) {
      await raw?.[Symbol.asyncDispose]() // it went, and came again, meanwhile
      return undefined
    }
    const blob = new CheckedBlob({ raw, check, blocks: this.#blocks, onWrong: this.#onWrong(digest, raw) })
    try {
      await blob.check(offset)
      return blob
    } catch (error) {
      await blob[Symbol.asyncDispose]()
      throw error
    }
  }

  /** All bytes of a blob; they have its digest. @returns undefined where there is none, or it was set aside */
  async readWhole(digest: Digest): Promise<Buffer | undefined> {
    await using raw = await this.#parts.openRaw(digest)
    if (!raw) return undefined
    const bytes = Buffer.allocUnsafeSlow(raw.sizeBytes)
    try {
      await readOrBlame(() => raw.read(bytes, 0, raw.sizeBytes), this.#onWrong(digest, raw))
    } catch (error) {
      if (error instanceof DiskError && error.kind === 'wrong') return undefined
      throw error
    }
    if (digestOf(bytes, algorithmOf(digest)) === digest) return bytes
    await this.#parts.setAside(digest, raw.inode, NOT_ITS_DIGEST)
    return undefined
  }

  /** Undefined where nothing of the blob may be believed yet. */
  #findCheck(digest: Digest): Check | undefined {
    const found = this.#parts.find(digest)
    if (!found) return undefined
    const known = this.#checks.find(digest, found.sizeBytes)
    if (known || found.trust === 'suspect') return known
    try {
      const sums = this.#parts.books().findSums(digest)
      return sums && this.#checks.add(digest, found.sizeBytes, sums)
    } catch (thrown) {
      this.#parts.onError(diskErrorOf(thrown, 'reading the books'))
      return undefined
    }
  }

  /** One hashing of a blob for all who ask. @returns whether it may be served @throws {DiskError} */
  #prove(digest: Digest): Promise<boolean> {
    const underWay = this.#proving.get(digest)
    if (underWay) return underWay
    const proof = this.#hash(digest).finally(() => this.#proving.delete(digest))
    this.#proving.set(digest, proof)
    return proof
  }

  async #hash(digest: Digest): Promise<boolean> {
    await using raw = await this.#parts.openRaw(digest)
    if (!raw) return false
    const sums = await readOrBlame(() => findSums(digest, raw), this.#onWrong(digest, raw))
    if (sums) this.#trust(digest, raw.sizeBytes, sums)
    else await this.#parts.setAside(digest, raw.inode, NOT_ITS_DIGEST)
    return sums !== undefined
  }

  /** Books that can't be written cost another hashing at the next start. */
  #trust(digest: Digest, sizeBytes: number, sums: Buffer): void {
    this.#checks.add(digest, sizeBytes, sums)
    try {
      this.#parts.books().trust(digest, sums)
    } catch (thrown) {
      this.#parts.onError(diskErrorOf(thrown, 'writing the books'))
    }
  }

  #onWrong(digest: Digest, { inode }: RawBlob): OnWrong {
    return async (why, cause) => {
      await this.#parts.setAside(digest, inode, why)
      return new DiskError('wrong', `a blob was set aside: ${why}`, cause)
    }
  }
}

const NOT_ITS_DIGEST = 'its bytes are not its digest'
