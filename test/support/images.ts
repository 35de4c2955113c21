import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'

export type Described = { readonly mediaType: string; readonly digest: Digest; readonly size: number }

/** The same bytes for the same seed (xorshift32), incompressible enough. */
export function seededBytes(seed: number, length: number): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1
  for (let at = 0; at < words.length; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    words[at] = state
  }
  return Buffer.from(words.buffer, 0, length)
}

export const describe = (bytes: Buffer, mediaType: string): Described => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.length,
})

/** A manifest's bytes, in the layout that registries commonly send. */
export const jsonBytes = (document: unknown): Buffer => Buffer.from(JSON.stringify(document, null, 3))

export function configBytes(seed: number, architecture = 'amd64'): Buffer {
  const rootfs = { type: 'layers', diff_ids: [] }
  return jsonBytes({ architecture, os: 'linux', config: { Labels: { seed: String(seed) } }, rootfs })
}

export function imageBytes(config: Described, layers: readonly Described[], more: object = {}): Buffer {
  return jsonBytes({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers, ...more })
}

export function indexBytes(manifests: readonly object[], more: object = {}): Buffer {
  return jsonBytes({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests, ...more })
}
