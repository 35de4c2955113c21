import { unlink } from 'node:fs/promises'
import type { Digest } from '../oci/digest.ts'
import type { Found } from './books.ts'
import { codeOf, type DiskError, diskErrorOf } from './disk-error.ts'
import type { DiskParts } from './disk-open.ts'

type Parts = Pick<DiskParts, 'books' | 'room' | 'folder'>
type OnError = (error: DiskError) => void

/**
 * Removes the blob whose row is `found`. The row goes first, so that nobody finds the blob meanwhile; where it can't,
 * the file makes the room for that. Never rejects. @returns bytes freed
 */
export async function removeBlob(parts: Parts, digest: Digest, found: Found, onError: OnError): Promise<number> {
  const isDropped = tryDrop(parts, digest, onError)
  try {
    await unlink(parts.folder.blob(digest))
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return 0
    onError(diskErrorOf(thrown, 'removing a blob'))
    if (isDropped) reenter(parts, digest, found, onError)
    return 0
  }
  if (!isDropped) tryDrop(parts, digest, onError)
  return found.sizeBytes
}

/** A full disk has no room for the note that a row is gone. What has a row still counts. */
export function tryDrop({ books, room }: Parts, digest: Digest, onError: OnError): boolean {
  try {
    room.take(-(books.drop(digest)?.sizeBytes ?? 0))
    return true
  } catch (thrown) {
    onError(diskErrorOf(thrown, 'writing the books'))
    return false
  }
}

/** A file that can't be removed still takes its bytes. */
function reenter({ books, room }: Parts, digest: Digest, found: Found, onError: OnError): void {
  const { sizeBytes, usedMs, trust } = found
  try {
    books.enterFound([{ digest, sizeBytes, usedMs }], trust)
    room.take(sizeBytes)
  } catch (thrown) {
    onError(diskErrorOf(thrown, 'writing the books')) // the next start finds it
  }
}
