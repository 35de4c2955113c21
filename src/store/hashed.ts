import { type Digest, hasherOf, matches } from '../oci/digest.ts'
import type { OpenBlob } from './open-blob.ts'

const PIECE_BYTES = 1024 * 1024

/** Whether the bytes of an open blob have this digest: 1 MiB a turn, so that the loop goes on. @throws {DiskError} */
export async function isRight(digest: Digest, blob: OpenBlob): Promise<boolean> {
  const hasher = hasherOf(digest)
  const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, blob.sizeBytes))
  for (let offset = 0; offset < blob.sizeBytes; ) {
    const bytes = await blob.read(piece, offset, blob.sizeBytes)
    hasher.update(piece.subarray(0, bytes))
    offset += bytes
  }
  return matches(digest, hasher)
}
