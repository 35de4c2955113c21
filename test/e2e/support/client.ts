import type { House, UpstreamName } from './house.ts'

/** A name as a user would give it to a client: `registry.example/team/app:1`, `docker.io/team/app@sha256:…`. */
export type Wanted = {
  readonly upstream: UpstreamName
  readonly repository: string
  /** `:tag` or `@digest`. */
  readonly reference: string
  /** Without it, the client's own choice. */
  readonly platform?: 'linux/arm64'
}

/** A real client that was pointed at Millpond, with a store of its own that began empty. */
export interface Client extends AsyncDisposable {
  /** Pulls it. Gives the digests that the client says this name has: of the manifest, and of the index it is from. */
  pull(wanted: Wanted): Promise<readonly string[]>
  /** Runs a container of what was pulled, without a network. @returns what it printed */
  run?(wanted: Wanted): Promise<string>
}

/** How a kind of client is used, and what it can't do by its nature. */
export type ClientKind = {
  readonly name: string
  /** Upstreams it can reach through a mirror; the first one is pulled from. */
  readonly upstreams: readonly [UpstreamName, ...UpstreamName[]]
  /** How it comes by the platforms of an index. */
  readonly platforms: 'all' | 'one by one' | 'its own alone'
  /** Whether it takes what is no image. */
  readonly takesArtifacts: boolean
  /** How often upstream may send a blob's bytes: 1.01, or 1.05 where ranges without an end are asked for. */
  readonly bytesRatioMax: number
  /** Ranges that it asks Millpond for at least: proof that it does fetch in parallel. */
  readonly rangesMin?: number
  open(house: House): Promise<Client>
}

/** A name in a folder for what was pulled under `wanted`. */
export function fileNameOf({ upstream, repository, reference }: Wanted): string {
  return `${upstream}-${repository}${reference}`.replace(/[^a-z0-9.]/g, '-')
}

export function nameOf({ upstream, repository, reference }: Wanted): string {
  return `${upstream}/${repository}${reference}`
}

/** The name through a path prefix at Millpond itself, for clients that know no mirrors. */
export function prefixedNameOf(wanted: Wanted, house: House): string {
  return `${house.millpond.host}/${nameOf(wanted)}`
}
