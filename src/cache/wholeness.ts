import { type Digest, digestOf } from '../oci/digest.ts'
import { type Descriptor, MANIFEST_BYTES_MAX } from '../oci/manifest.ts'
import { isIndexType } from '../oci/media-types.ts'
import type { Disk } from '../store/disk.ts'
import type { Index } from '../store/index.ts'

/** How deep an index may hold indexes (faults.md 63). */
const DEPTH_MAX = 4
/** Clients bring these two bytes themselves (image-spec, "Guidance for an Empty Descriptor"). */
const EMPTY_JSON = digestOf(Buffer.from('{}'))
const FOREIGN = /\.foreign\.|\.nondistributable\./

type Held = { readonly disk: Pick<Disk, 'find'>; readonly index: Pick<Index, 'findManifest'> }

/**
 * Whether a client that gets this manifest will get the rest from us as well: all that an image names is here; of an
 * index, all that one of its manifests names. What the index does not know of is taken for whole.
 */
export async function isWhole(digest: Digest, held: Held, depth = 0): Promise<boolean> {
  const facts = await held.index.findManifest(digest)
  if (!facts) return true
  if (!isIndexType(facts.mediaType)) return facts.children.every((child) => isHere(child, held))
  if (depth >= DEPTH_MAX) return false
  for (const child of facts.children) {
    if (held.disk.find(child.digest) && (await isWhole(child.digest, held, depth + 1))) return true
  }
  return facts.children.length === 0
}

const isHere = ({ digest, mediaType }: Descriptor, { disk }: Held): boolean =>
  digest === EMPTY_JSON || FOREIGN.test(mediaType) || disk.find(digest) !== undefined

/** What a use of `digest` uses: itself and all it names that is here, down through indexes. */
export async function usedBy(digest: Digest, held: Held, depth = 0): Promise<readonly Digest[]> {
  const used = [digest]
  const facts = await held.index.findManifest(digest)
  for (const child of facts?.children ?? []) {
    const onDisk = held.disk.find(child.digest)
    if (!onDisk) continue
    const isManifest = isIndexType(facts?.mediaType ?? '') && onDisk.sizeBytes <= MANIFEST_BYTES_MAX
    if (isManifest && depth < DEPTH_MAX) used.push(...(await usedBy(child.digest, held, depth + 1)))
    else used.push(child.digest)
  }
  return used
}
