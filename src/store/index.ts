import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Repository, Tag } from '../oci/names.ts'

/**
 * What a tag pointed to and when upstream last confirmed it. `goneMs`: when upstream last said 404 to it, if it did
 * since.
 */
export type Resolution = {
  readonly digest: Digest
  readonly confirmedMs: number
  readonly goneMs: number | undefined
}

/** What is known of a manifest besides its bytes. */
export type ManifestFacts = {
  readonly digest: Digest
  readonly mediaType: string
  readonly sizeBytes: number
  readonly children: readonly Descriptor[]
  readonly subject?: Digest
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
}

/** Proof that a repository may show a digest, and how the bytes behind it were got. */
export type Link = { readonly repository: Repository; readonly digest: Digest; readonly isPublic: boolean }

/** An upstream's listing as it came, kept for an outage. `key` tells its kind and query. */
export type Listing = {
  readonly bytes: Buffer
  readonly contentType: string
  readonly link: string | undefined
  readonly filters: string | undefined
  readonly confirmedMs: number
}

/**
 * The facts: a cache of the truth that may be lost and is built again from the manifests on disk and from upstream.
 * One set of queries for every engine; each method is one question or one fact, and one transaction.
 */
export interface Index extends AsyncDisposable {
  findResolution(repository: Repository, tag: Tag): Promise<Resolution | undefined>
  /** Upstream confirms that `tag` points to `digest`; another digest than before is a new row of the tag's history. */
  putResolution(repository: Repository, tag: Tag, digest: Digest, confirmedMs: number): Promise<void>
  /** Upstream said 404 to a tag that is known; undone by the next putResolution. */
  putGone(repository: Repository, tag: Tag, goneMs: number): Promise<void>
  forgetResolution(repository: Repository, tag: Tag): Promise<void>
  /** Known tags that are not gone, in lexical order. */
  tagsOf(repository: Repository): Promise<readonly Tag[]>

  /** Whether the repository may show the digest: a link, or a public digest that a linked manifest of it names. */
  mayShow(repository: Repository, digest: Digest): Promise<boolean>
  putLink(link: Link): Promise<void>
  forgetLink(repository: Repository, digest: Digest): Promise<void>

  findManifest(digest: Digest): Promise<ManifestFacts | undefined>
  putManifest(facts: ManifestFacts): Promise<void>
  forgetManifest(digest: Digest): Promise<void>
  /** As a linked manifest of this repository describes it; another repository's may lie about the size. */
  findDescriptor(repository: Repository, digest: Digest): Promise<Descriptor | undefined>
  /**
   * What an eviction of `digest` would take from, for pins and use: each linked repository, with the tags that lead
   * here.
   */
  usersOf(digest: Digest): Promise<readonly { readonly repository: Repository; readonly tags: readonly Tag[] }[]>
  /** Manifests linked in the repository whose subject is `subject`. */
  referrersOf(repository: Repository, subject: Digest): Promise<readonly ManifestFacts[]>

  findListing(repository: Repository, key: string): Promise<Listing | undefined>
  putListing(repository: Repository, key: string, listing: Listing): Promise<void>
  /** Everything that a write to the repository may have made untrue. */
  forgetListings(repository: Repository): Promise<void>
}
