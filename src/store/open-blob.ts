import { lstatSync } from 'node:fs'
import type { Digest } from '../oci/digest.ts'
import type { Stamp } from './checks.ts'
import { DiskError, diskErrorOf } from './disk-error.ts'
import { OpenFile, READ_ONLY, stampOf } from './files.ts'

/** A whole blob, open. While it is, it isn't evicted. */
export type OpenBlob = AsyncDisposable & {
  readonly sizeBytes: number
  /**
   * Reads from `offset` up to `end`, at most as many bytes as `into` takes.
   * @returns how many; 0 at the end alone @throws {DiskError}
   */
  read(into: Buffer, offset: number, end: number): Promise<number>
}

/** One whose bytes nobody has compared: as many are read as `into` takes, fewer only at the blob's end. */
export type RawBlob = OpenBlob & {
  readonly inode: number
  /** As the file is now; asked at once, which costs a twentieth of asking on the thread pool (M). */
  stamp(): Stamp
}

type Opened = { readonly file: OpenFile; readonly inode: number }
type Shared = { users: number; readonly opened: Promise<Opened | undefined> }

/** Blobs under readers: one descriptor each, closed when the last reader leaves. */
export class OpenBlobs {
  readonly #shared = new Map<Digest, Shared>()

  has(digest: Digest): boolean {
    return this.#shared.has(digest)
  }

  get size(): number {
    return this.#shared.size
  }

  /** Whoever reads goes on; who comes later finds another file, or none. */
  part(digest: Digest): void {
    this.#shared.delete(digest)
  }

  /** As `part`, of all. */
  partAll(): void {
    this.#shared.clear()
  }

  /**
   * Joins the readers of a blob or is the first.
   * @returns undefined where there is no regular file of this size at `path`
   * @throws {DiskError} where the file can't be opened for another reason
   */
  async open(
    digest: Digest,
    path: string,
    sizeBytes: number,
    onError: (error: DiskError) => void,
  ): Promise<RawBlob | undefined> {
    const shared = this.#join(digest, path, sizeBytes)
    let opened: Opened | undefined
    try {
      opened = await shared.opened
    } catch (thrown) {
      await this.#leave(digest, shared)
      const error = diskErrorOf(thrown, 'opening a blob')
      onError(error)
      throw error
    }
    if (!opened) {
      await this.#leave(digest, shared)
      return undefined
    }
    return blobOf({ ...opened, path, sizeBytes, onError, leave: () => this.#leave(digest, shared) })
  }

  #join(digest: Digest, path: string, sizeBytes: number): Shared {
    const found = this.#shared.get(digest)
    if (found) {
      found.users += 1
      return found
    }
    const shared = { users: 1, opened: openRegular(path, sizeBytes) }
    this.#shared.set(digest, shared)
    return shared
  }

  async #leave(digest: Digest, shared: Shared): Promise<void> {
    shared.users -= 1
    if (shared.users > 0) return
    if (this.#shared.get(digest) === shared) this.#shared.delete(digest)
    const opened = await shared.opened.catch(() => undefined) // whoever opened it was told
    await opened?.file.close()
  }
}

/** Codes by which the path leads to no regular file of ours. */
const NO_FILE: ReadonlySet<unknown> = new Set(['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO', 'EISDIR'])

async function openRegular(path: string, sizeBytes: number): Promise<Opened | undefined> {
  let file: OpenFile
  try {
    file = await OpenFile.open(path, READ_ONLY)
  } catch (error) {
    if (error instanceof Error && 'code' in error && NO_FILE.has(error.code)) return undefined
    throw error
  }
  try {
    const stats = await file.stat()
    if (stats.isFile() && stats.size === sizeBytes) return { file, inode: stats.ino }
  } catch (error) {
    await file.close()
    throw error
  }
  await file.close()
  return undefined
}

/** Of the file at `path`; undefined where it is not the file of this inode. */
function findStamp(path: string, inode: number): Stamp {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    return stats?.ino === inode ? stampOf(stats) : undefined
  } catch {
    return undefined // a failing disk: what can't be asked is compared
  }
}

type BlobParts = Opened & {
  readonly path: string
  readonly sizeBytes: number
  readonly onError: (error: DiskError) => void
  readonly leave: () => Promise<void>
}

function blobOf({ file, inode, path, sizeBytes, onError, leave }: BlobParts): RawBlob {
  let left: Promise<void> | undefined
  return {
    sizeBytes,
    inode,
    stamp: () => findStamp(path, inode),
    async read(into, offset, end) {
      const upTo = Math.min(end, sizeBytes)
      if (offset >= upTo) return 0
      try {
        const bytes = await file.read(into, offset, upTo)
        if (bytes < Math.min(into.length, upTo - offset)) throw new DiskError('failed', 'a blob became shorter')
        return bytes
      } catch (thrown) {
        const error = diskErrorOf(thrown, 'reading a blob')
        if (!left) onError(error) // who left while he read closed it himself: the disk did nothing
        throw error
      }
    },
    [Symbol.asyncDispose]() {
      left ??= leave()
      return left
    },
  }
}
