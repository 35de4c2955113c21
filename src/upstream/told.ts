import type { Digest } from '../oci/digest.ts'

/** Upstream said 404. */
export type Absent = { readonly at: 'absent' }
/** Upstream said 401 or 403, after one fresh token; or its token endpoint refused. */
export type Denied = { readonly at: 'denied' }

/** What came with an answer. `isPublic` says that it was got without an account. */
type Facts = { readonly at: 'found'; readonly contentType: string | undefined; readonly isPublic: boolean }

/** A manifest whole in memory, its size bounded, its encoding undone; `digest` is what a header claims, a hint. */
export type ManifestTold = (Facts & { readonly bytes: Buffer; readonly digest: Digest | undefined }) | Absent | Denied

/** A HEAD's answer; `unheadable` where upstream takes none (405). */
export type ManifestHead =
  | (Facts & { readonly digest: Digest | undefined; readonly sizeBytes: number | undefined })
  | { readonly at: 'unheadable' }
  | Absent
  | Denied

export type BlobHead = (Facts & { readonly sizeBytes: number | undefined }) | Absent | Denied

/** Bytes asked for: from `start` up to `end`, exclusive; without `end` up to the last byte. */
export type Asked = { readonly start: number; readonly end?: number | undefined }

/**
 * An open body. Its first byte is at `start` of the blob: as asked where upstream honoured the range, else 0.
 * `sizeBytes` is the whole blob's, from Content-Length or Content-Range.
 *
 * `pieces` yields at most 1 MiB at a time; a piece is valid until the next one is asked for. It ends where the body
 * ends, which is no proof that it is whole; it throws OciError for a body that is cut, stalls, drips or is encoded.
 * Leaving it early, or aborting the signal, destroys the socket.
 */
export type BlobOpen = Facts & {
  readonly start: number
  readonly sizeBytes: number | undefined
  readonly pieces: AsyncIterable<Buffer>
}

export type BlobTold = BlobOpen | Absent | Denied

/** A listing as upstream gave it: `link` is the Link header's value, `filters` that of OCI-Filters-Applied. */
export type ListingTold =
  | (Facts & { readonly bytes: Buffer; readonly link: string | undefined; readonly filters: string | undefined })
  | Absent
  | Denied
