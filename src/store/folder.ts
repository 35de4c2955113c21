import { join } from 'node:path'
import { algorithmOf, type Digest, findDigest, hexOf } from '../oci/digest.ts'

/** Where everything is. Paths are built from parsed digests alone. */
export class Folder {
  readonly path: string
  readonly books: string
  readonly holder: string
  readonly spools: string
  readonly quarantine: string

  constructor(path: string) {
    this.path = path
    this.books = join(path, 'disk.sqlite')
    this.holder = join(path, 'disk.pid')
    this.spools = join(path, 'spools')
    this.quarantine = join(path, 'quarantine')
  }

  /** The OCI image layout's own path (image-spec, image-layout.md, "Blobs"). */
  blob(digest: Digest): string {
    return join(this.blobsOf(algorithmOf(digest)), hexOf(digest))
  }

  blobsOf(algorithm: string): string {
    return join(this.path, 'blobs', algorithm)
  }

  spool(digest: Digest): string {
    return join(this.spools, `${algorithmOf(digest)}-${hexOf(digest)}`)
  }

  /** What the spool beside it holds. */
  note(digest: Digest): string {
    return `${this.spool(digest)}.json`
  }
}

/** The digest that a file in `spools/` is named for; undefined for a note, a draft or a stranger. */
export function findSpoolDigest(name: string): Digest | undefined {
  return findDigest(name.replace('-', ':'))
}
