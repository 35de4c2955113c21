import { type Digest, hasherOf, matches } from '../oci/digest.ts'
import { BLOCK_BYTES, Checksums } from './checksums.ts'
import type { RawBlob } from './open-blob.ts'

/**
 * The checksums of an open blob whose bytes have this digest: 1 MiB a turn, so that the loop goes on.
 * @param goesOn is asked after each piece, and told its bytes; where it says false the walk ends
 * @returns undefined where the bytes have another digest, or the walk was ended @throws {DiskError}
 */
export async function findSums(
  digest: Digest,
  blob: Pick<RawBlob, 'sizeBytes' | 'read'>,
  goesOn: (bytes: number) => Promise<boolean> | boolean = () => true,
): Promise<Buffer | undefined> {
  const hasher = hasherOf(digest)
  const sums = new Checksums()
  const piece = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, blob.sizeBytes))
  for (let offset = 0; offset < blob.sizeBytes; ) {
    const bytes = await blob.read(piece, offset, blob.sizeBytes)
    const read = piece.subarray(0, bytes)
    hasher.update(read)
    sums.take(read)
    offset += bytes
    if (!(await goesOn(bytes))) return undefined
  }
  return matches(digest, hasher) ? sums.end() : undefined
}
