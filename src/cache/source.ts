import type { Digest } from '../oci/digest.ts'
import type { RepositoryPath } from '../oci/names.ts'
import type { Asked, BlobTold } from '../upstream/told.ts'

/** Whatever can open a digest at an offset: an upstream's endpoint, and in time the bucket or another replica. */
export interface Source {
  /** Tells it apart from the others of one fill, in logs too. */
  readonly name: string
  /** @throws {OciError} upstreamFailed, upstreamSlow, accountSpent */
  open(asked: Asked, signal: AbortSignal): Promise<BlobTold>
}

type Opens = {
  readonly name: string
  openBlob(path: RepositoryPath, digest: Digest, asked: Asked, signal: AbortSignal): Promise<BlobTold>
}

/** The endpoints of an upstream as sources of one digest, in their order. */
export function sourcesOf(endpoints: readonly Opens[], path: RepositoryPath, digest: Digest): readonly Source[] {
  return endpoints.map((endpoint) => ({
    name: endpoint.name,
    open: (asked, signal) => endpoint.openBlob(path, digest, asked, signal),
  }))
}
