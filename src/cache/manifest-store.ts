import { LRUCache } from 'lru-cache'
import type { Log } from '../base/log.ts'
import type { Digest } from '../oci/digest.ts'
import {
  type Descriptor,
  MANIFEST_BYTES_MAX,
  type Manifest,
  type ManifestReading,
  readManifest,
} from '../oci/manifest.ts'
import type { Disk } from '../store/disk.ts'
import type { Index, ManifestFacts } from '../store/index.ts'

/** What an entry costs besides its bytes; it also bounds how many there are. */
const ENTRY_BYTES = 512

/** A manifest's bytes as they came, whose digest was verified. */
export type HeldManifest = {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
  /** Not so: shown by digest alone, and kept in memory alone. */
  readonly isReadable: boolean
}

export type KeptManifest = HeldManifest & {
  readonly manifest: Manifest | undefined
  /** Whether it is on disk. */
  readonly isStored: boolean
}

type Parts = {
  readonly disk: Pick<Disk, 'find' | 'readWhole' | 'put'>
  readonly index: Pick<Index, 'findManifest' | 'putManifest'>
  readonly room: { reserve(bytes: number): Promise<boolean> }
  readonly log: Log
  readonly memoryBytes: number
}

/** Manifests by digest: memory, then disk; what is known of them is in the index. Doesn't know who may see them. */
export class ManifestStore {
  readonly #parts: Parts
  readonly #memory: LRUCache<Digest, HeldManifest>

  constructor(parts: Parts) {
    this.#parts = parts
    this.#memory = new LRUCache({
      maxSize: parts.memoryBytes,
      sizeCalculation: ({ bytes }) => bytes.length + ENTRY_BYTES,
    })
  }

  peek(digest: Digest): HeldManifest | undefined {
    return this.#memory.get(digest)
  }

  /** Whether `find` may have it: cheap, and nothing is read. */
  has(digest: Digest): boolean {
    const onDisk = this.#parts.disk.find(digest)
    return this.#memory.has(digest) || (onDisk !== undefined && onDisk.sizeBytes <= MANIFEST_BYTES_MAX)
  }

  /** From memory or disk, whose bytes have this digest. Undefined too where what is on disk is no manifest. */
  async find(digest: Digest): Promise<HeldManifest | undefined> {
    const held = this.peek(digest)
    if (held) return held
    const bytes = this.has(digest) ? await this.#read(digest) : undefined
    if (!bytes) return undefined
    const facts = await this.#factsOf(digest)
    const reading = readManifest(bytes, facts?.mediaType)
    if (reading.at !== 'read') return undefined
    const mediaType = facts?.mediaType ?? reading.manifest.mediaType
    // the index had lost it: built again
    if (!facts) await this.#index(factsOf(digest, bytes.length, mediaType, reading.manifest))
    return this.#remember({ digest, mediaType, bytes, isReadable: true })
  }

  /** What a manifest names, as far as the index knows. Never rejects. */
  async childrenOf(digest: Digest): Promise<readonly Descriptor[]> {
    return (await this.#factsOf(digest))?.children ?? []
  }

  /**
   * Takes in bytes whose digest was verified, with what they are, and keeps them where it can: that it cannot costs no
   * answer. A digest has one media type for good, the first.
   *
   * @throws {OciError} manifestInvalid: it contradicts itself, or is schema 1
   */
  async keep(digest: Digest, bytes: Buffer, reading: ManifestReading): Promise<KeptManifest> {
    if (reading.at === 'refused') throw reading.error
    const told = reading.at === 'read' ? reading.manifest.mediaType : reading.mediaType
    const mediaType = this.peek(digest)?.mediaType ?? (await this.#factsOf(digest))?.mediaType ?? told
    const held = this.#remember({ digest, mediaType, bytes, isReadable: reading.at === 'read' })
    if (reading.at !== 'read') return { ...held, manifest: undefined, isStored: false }
    const { manifest } = reading
    const [isStored] = await Promise.all([
      this.#put(digest, bytes),
      this.#index(factsOf(digest, bytes.length, mediaType, manifest)),
    ])
    return { ...held, manifest, isStored }
  }

  /** A disk that fails has nothing: upstream is asked. */
  async #read(digest: Digest): Promise<Buffer | undefined> {
    try {
      return await this.#parts.disk.readWhole(digest, MANIFEST_BYTES_MAX)
    } catch (error) {
      this.#parts.log.warn({ err: error, digest }, 'a manifest could not be read from disk')
      return undefined
    }
  }

  #remember(held: HeldManifest): HeldManifest {
    this.#memory.set(held.digest, held)
    return held
  }

  async #put(digest: Digest, bytes: Buffer): Promise<boolean> {
    const { disk, room, log } = this.#parts
    try {
      if (disk.find(digest)) return true
      return (await room.reserve(bytes.length)) && (await disk.put(digest, bytes))
    } catch (error) {
      log.warn({ err: error, digest }, 'a manifest could not be kept')
      return false
    }
  }

  async #index(facts: ManifestFacts): Promise<void> {
    try {
      await this.#parts.index.putManifest(facts)
    } catch (error) {
      this.#parts.log.warn({ err: error, digest: facts.digest }, 'a manifest could not be indexed')
    }
  }

  async #factsOf(digest: Digest): Promise<ManifestFacts | undefined> {
    try {
      return await this.#parts.index.findManifest(digest)
    } catch (error) {
      this.#parts.log.warn({ err: error, digest }, 'the index could not be asked for a manifest')
      return undefined
    }
  }
}

function factsOf(digest: Digest, sizeBytes: number, mediaType: string, manifest: Manifest): ManifestFacts {
  const { children, subject, artifactType, annotations } = manifest
  return {
    ...{ digest, mediaType, sizeBytes, children },
    ...(subject && { subject: subject.digest }),
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
  }
}
