import type { Digest } from '../oci/digest.ts'
import { DiskError, diskErrorOf } from './disk-error.ts'
import { OpenFile, READ_ONLY } from './files.ts'

/** A whole blob, open. While it is, it isn't evicted. */
export type OpenBlob = AsyncDisposable & {
  readonly sizeBytes: number
  /**
   * Reads from `offset` up to `end`, as many bytes as `into` takes.
   * @returns fewer only at the blob's end @throws {DiskError}
   */
  read(into: Buffer, offset: number, end: number): Promise<number>
}

type Shared = { users: number; readonly file: Promise<OpenFile | undefined> }

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
  ): Promise<OpenBlob | undefined> {
    const shared = this.#join(digest, path, sizeBytes)
    let file: OpenFile | undefined
    try {
      file = await shared.file
    } catch (thrown) {
      await this.#leave(digest, shared)
      const error = diskErrorOf(thrown, 'opening a blob')
      onError(error)
      throw error
    }
    if (!file) {
      await this.#leave(digest, shared)
      return undefined
    }
    return blobOf(file, sizeBytes, onError, () => this.#leave(digest, shared))
  }

  #join(digest: Digest, path: string, sizeBytes: number): Shared {
    const found = this.#shared.get(digest)
    if (found) {
      found.users += 1
      return found
    }
    const shared = { users: 1, file: openRegular(path, sizeBytes) }
    this.#shared.set(digest, shared)
    return shared
  }

  async #leave(digest: Digest, shared: Shared): Promise<void> {
    shared.users -= 1
    if (shared.users > 0) return
    if (this.#shared.get(digest) === shared) this.#shared.delete(digest)
    const file = await shared.file.catch(() => undefined) // whoever opened it was told
    await file?.close()
  }
}

/** Codes by which the path leads to no regular file of ours. */
const NO_FILE: ReadonlySet<unknown> = new Set(['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO', 'EISDIR'])

async function openRegular(path: string, sizeBytes: number): Promise<OpenFile | undefined> {
  let file: OpenFile
  try {
    file = await OpenFile.open(path, READ_ONLY)
  } catch (error) {
    if (error instanceof Error && 'code' in error && NO_FILE.has(error.code)) return undefined
    throw error
  }
  try {
    const stats = await file.stat()
    if (stats.isFile() && stats.size === sizeBytes) return file
  } catch (error) {
    await file.close()
    throw error
  }
  await file.close()
  return undefined
}

function blobOf(
  file: OpenFile,
  sizeBytes: number,
  onError: (error: DiskError) => void,
  leave: () => Promise<void>,
): OpenBlob {
  let left: Promise<void> | undefined
  return {
    sizeBytes,
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
