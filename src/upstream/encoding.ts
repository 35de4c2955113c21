import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib'
import { unusable } from './failure.ts'
import { encodingsOf } from './headers.ts'
import type { Answer } from './wire.ts'

const DECODER_OF: Readonly<Record<string, (bytes: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>>> = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
  zstd: promisify(zstdDecompress),
}

/**
 * The whole of a small body, its encoding undone though none was asked for (registries behind compressing proxies).
 * Both forms are bounded, so that a bomb costs no more than a large one.
 *
 * @throws {OciError} upstreamFailed: `size`, `encoding`, `cut`; upstreamSlow
 */
export async function wholeOf({ headers, body }: Answer, bytesMax: number): Promise<Buffer> {
  const encodings = encodingsOf(headers)
  const [encoding] = encodings
  const decode = encoding === undefined ? undefined : DECODER_OF[encoding]
  if (encodings.length > 1 || (encoding !== undefined && !decode)) {
    body.destroy()
    throw unusable('encoding', 'the upstream encoded its answer in a way that we do not know')
  }
  const bytes = await body.whole(bytesMax)
  if (!bytes) throw unusable('size', 'the upstream sent more than such an answer may have')
  return decode ? await decoded(bytes, decode, bytesMax) : bytes
}

async function decoded(
  bytes: Buffer,
  decode: NonNullable<(typeof DECODER_OF)[string]>,
  bytesMax: number,
): Promise<Buffer> {
  try {
    return await decode(bytes, { maxOutputLength: bytesMax })
  } catch (error) {
    throw unusable('encoding', 'what the upstream encoded cannot be decoded within bounds', error)
  }
}
