import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { gzipSync } from 'node:zlib'
import { run } from './command.ts'
import type { Folder } from './folder.ts'
import { type Descriptor, digestOf, type Publisher } from './publisher.ts'
import type { Registry } from './registry.ts'
import { tarOf } from './tar.ts'
import { PRIVATE_PREFIX, PUSHER } from './token-server.ts'
import { debianTool, goTool } from './tools.ts'

const MIB = 1024 * 1024

const DOCKER = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const

const OCI = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const

const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'

export type Image = {
  readonly repository: string
  readonly tag: string
  readonly digest: string
  /** What a container of it prints: the SHA-256 of a file in its own layer. */
  readonly proof: string
  readonly layers: readonly Descriptor[]
}

type Index = { readonly repository: string; readonly tag: string; readonly digest: string } & {
  readonly amd64: Image
  readonly arm64: Image
}

type Artifact = { readonly repository: string; readonly tag: string; readonly digest: string } & {
  readonly referrers: readonly string[]
  /** Lists them where there is no referrers API (distribution-spec 1.1, "Referrers Tag Schema"). */
  readonly referrersTag: string
  readonly referrersDigest: string
  readonly text: string
}

/** What the upstream holds. Each file of suites gets content of its own, so no cache of an earlier run can help. */
export type Catalogue = {
  /** Two layers of 24 MiB, in Docker's own media types. */
  readonly pond: Image
  /** Asked for by digest alone. */
  readonly deep: Image
  /** Shown to accounts alone. */
  readonly vault: Image
  /** Shown to one tenant alone, each. */
  readonly alices: Image
  readonly bobs: Image
  readonly app: Index
  readonly notes: Artifact
  /** Nobody asks for it before a test of its own does. */
  readonly spare: Image
}

type Recipe = {
  readonly repository: string
  readonly tag?: string
  readonly architecture?: 'amd64' | 'arm64'
  readonly types?: typeof DOCKER | typeof OCI
  readonly layerBytes: readonly number[]
}

export async function publishCatalogue(publisher: Publisher, registry: Registry, folder: Folder): Promise<Catalogue> {
  const big = [24 * MIB, 24 * MIB]
  return {
    pond: await publishImage(publisher, { repository: 'library/pond', tag: '1', types: DOCKER, layerBytes: big }),
    deep: await publishImage(publisher, { repository: 'team/deep', tag: '1', layerBytes: [3 * MIB, 1000] }),
    vault: await publishImage(publisher, { repository: `${PRIVATE_PREFIX}vault`, tag: '1', layerBytes: [2 * MIB] }),
    alices: await publishImage(publisher, { repository: 'tenant-alice/secret', tag: '1', layerBytes: [6 * MIB] }),
    bobs: await publishImage(publisher, { repository: 'tenant-bob/secret', tag: '1', layerBytes: [MIB] }),
    app: await publishIndex(publisher, 'team/app', '1'),
    notes: await publishArtifact(publisher, registry, folder),
    spare: await publishImage(publisher, { repository: 'team/spare', tag: '1', layerBytes: big }),
  }
}

async function publishImage(publisher: Publisher, recipe: Recipe): Promise<Image> {
  const { repository, tag = '1', architecture = 'amd64', types = OCI } = recipe
  const files = recipe.layerBytes.map((bytes) => randomBytes(bytes))
  const tars = [await systemLayer(), ...files.map((content, i) => tarOf([{ path: `data${i}`, content }]))]
  const layers: Descriptor[] = []
  // Level 0: random bytes don't shrink, and the suites shouldn't wait for a deflate that tries.
  for (const tar of tars) layers.push(await publisher.putBlob(repository, gzipSync(tar, { level: 0 }), types.layer))
  const config = Buffer.from(JSON.stringify(configOf(architecture, tars)))
  const described = await publisher.putBlob(repository, config, types.config)
  const manifest = { schemaVersion: 2, mediaType: types.manifest, config: described, layers }
  const { digest } = await publisher.putManifest(repository, manifest, recipe.tag)
  const proof = createHash('sha256')
    .update(files[0] ?? '')
    .digest('hex')
  return { repository, tag, digest, proof, layers }
}

async function publishIndex(publisher: Publisher, repository: string, tag: string): Promise<Index> {
  const amd64 = await publishImage(publisher, { repository, architecture: 'amd64', layerBytes: [4 * MIB] })
  const arm64 = await publishImage(publisher, { repository, architecture: 'arm64', layerBytes: [3 * MIB] })
  const children = { amd64, arm64 }
  const manifests = Object.entries(children).map(([architecture, { digest }]) => {
    const size = publisher.sizeOf.get(digest)
    return { mediaType: OCI.manifest, digest, size, platform: { architecture, os: 'linux' } }
  })
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests }
  const { digest } = await publisher.putManifest(repository, index, tag)
  return { repository, tag, digest, ...children }
}

/** Pushed by oras itself, like its referrers: registry 2.8.2 has no API for them, so oras keeps the fallback tag. */
async function publishArtifact(publisher: Publisher, registry: Registry, folder: Folder): Promise<Artifact> {
  const repository = 'team/notes'
  const tag = '1'
  const text = `notes ${randomBytes(8).toString('hex')}\n`
  const name = `127.0.0.1:${registry.port}/${repository}`
  const oras = async (command: string, reference: string, type: string, file: string, content: string) => {
    await writeFile(folder.join(file), content)
    const account = ['-u', PUSHER.username, '-p', PUSHER.password]
    const what = ['--artifact-type', type, '--format', 'json', reference, `${file}:text/plain`]
    const env = { PATH: '/usr/bin:/bin', HOME: folder.path }
    const told = await run(goTool('oras'), [command, '--plain-http', ...account, ...what], { cwd: folder.path, env })
    return String(JSON.parse(told).digest)
  }
  const digest = await oras('push', `${name}:${tag}`, 'application/vnd.e2e.notes', 'notes.txt', text)
  const subject = `${name}@${digest}`
  const sbom = await oras('attach', subject, 'application/vnd.e2e.sbom', 'sbom.txt', 'nothing but busybox\n')
  const signature = await oras('attach', subject, 'application/vnd.e2e.signature', 'signature.txt', 'signed\n')
  const referrersTag = digest.replace(':', '-')
  const referrersDigest = await publisher.resolve(repository, referrersTag)
  return { repository, tag, digest, referrers: [sbom, signature], referrersTag, referrersDigest, text }
}

/** The same bytes in every image: a layer that repositories share. */
async function systemLayer(): Promise<Buffer> {
  const content = await readFile(debianTool('busybox'))
  return tarOf([
    { path: 'bin/' },
    { path: 'bin/busybox', content, mode: 0o755 },
    { path: 'bin/sh', link: 'busybox' },
    { path: 'etc/' },
    { path: 'tmp/', mode: 0o1777 },
  ])
}

function configOf(architecture: string, tars: readonly Buffer[]): object {
  return {
    created: '2026-01-01T00:00:00Z',
    architecture,
    os: 'linux',
    config: { Cmd: ['/bin/busybox', 'sha256sum', '/data0'], Env: ['PATH=/bin'], WorkingDir: '/' },
    rootfs: { type: 'layers', diff_ids: tars.map(digestOf) },
    history: tars.map(() => ({ created: '2026-01-01T00:00:00Z', created_by: 'e2e' })),
  }
}
