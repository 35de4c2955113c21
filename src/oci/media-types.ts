/** Media types of the image specification and of Docker's image manifest version 2. */
export const MEDIA_TYPE = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
  artifactManifest: 'application/vnd.oci.artifact.manifest.v1+json',
  octets: 'application/octet-stream',
} as const

const INDEXES: ReadonlySet<string> = new Set([MEDIA_TYPE.ociIndex, MEDIA_TYPE.dockerList])
const MANIFESTS: ReadonlySet<string> = new Set([
  MEDIA_TYPE.ociManifest,
  MEDIA_TYPE.dockerManifest,
  MEDIA_TYPE.artifactManifest,
])
const SCHEMA_1: ReadonlySet<string> = new Set([MEDIA_TYPE.dockerSchema1, MEDIA_TYPE.dockerSchema1Signed])

/** The one Accept that goes upstream for manifests, whatever the client sent: its answers are cached for everyone. */
export const MANIFEST_ACCEPT = [
  MEDIA_TYPE.ociIndex,
  MEDIA_TYPE.ociManifest,
  MEDIA_TYPE.dockerList,
  MEDIA_TYPE.dockerManifest,
  MEDIA_TYPE.artifactManifest,
  '*/*;q=0.1',
].join(', ')

export const isIndexType = (mediaType: string): boolean => INDEXES.has(mediaType)
export const isManifestType = (mediaType: string): boolean => INDEXES.has(mediaType) || MANIFESTS.has(mediaType)
export const isSchema1Type = (mediaType: string): boolean => SCHEMA_1.has(mediaType)

/** A Content-Type without its parameters, in lower case (RFC 9110 §8.3.1). */
export function essenceOf(contentType: string): string {
  return (contentType.split(';', 1)[0] ?? '').trim().toLowerCase()
}
