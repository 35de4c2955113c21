import type { OciError } from '../base/errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Repository, RepositoryPath } from '../oci/names.ts'
import type { Asked, BlobTold } from '../upstream/told.ts'
import { keyOf } from './negatives.ts'

/** Whatever can open a digest at an offset: an upstream's endpoint, and in time the bucket or another replica. */
export interface Source {
  /** Tells it apart from the others by the same right, in logs too. */
  readonly name: string
  /** By whose right it opens the digest: a repository's, or its caller's. Left out: by ours. */
  readonly of?: string
  /** @throws {OciError} upstreamFailed, upstreamSlow, accountSpent */
  open(asked: Asked, signal: AbortSignal): Promise<BlobTold>
}

/** How a source disappointed: said 404, refused us, or failed in a way that is an error. */
export type Failing = { readonly at: 'absent' } | { readonly at: 'denied' } | { readonly at: 'error'; error: OciError }

type Opens = {
  readonly name: string
  openBlob(path: RepositoryPath, digest: Digest, asked: Asked, signal: AbortSignal): Promise<BlobTold>
}

/** The endpoints of an upstream as sources of one digest in a repository, in their order. */
export function sourcesOf(endpoints: readonly Opens[], repository: Repository, digest: Digest): readonly Source[] {
  return endpoints.map((endpoint) => ({
    name: endpoint.name,
    of: keyOf(repository, ''),
    open: (asked, signal) => endpoint.openBlob(repository.path, digest, asked, signal),
  }))
}

/** Tells sources apart whoever they are of: what one sent is no blame for the same endpoint in another's repository. */
export const idOf = ({ name, of }: Source): string => (of === undefined ? name : `${of}${name}`)
