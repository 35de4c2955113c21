import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Cap, configSchema } from '../../src/base/config.ts'
import { silentLog } from '../../src/base/log.ts'
import { MIB } from '../../src/base/units.ts'
import { Evictor } from '../../src/cache/evictor.ts'
import { Links } from '../../src/cache/links.ts'
import { Listings } from '../../src/cache/listings.ts'
import { Manifests } from '../../src/cache/manifests.ts'
import { Pins } from '../../src/cache/pins.ts'
import { TagPolicies } from '../../src/cache/policies.ts'
import { Prover } from '../../src/cache/prover.ts'
import { Verdicts } from '../../src/cache/verdicts.ts'
import type { Digest } from '../../src/oci/digest.ts'
import {
  findRegistryHost,
  parseRepositoryPath,
  parseTag,
  type Reference,
  type Repository,
} from '../../src/oci/names.ts'
import { Disk } from '../../src/store/disk.ts'
import type { Index } from '../../src/store/index.ts'
import { openSqliteIndex } from '../../src/store/sqlite.ts'
import { Upstream } from '../../src/upstream/upstream.ts'
import type { FakeUpstream } from '../support/upstream.ts'
import { HandClock, outsideOf } from './hand-clock.ts'

export type HouseOptions = {
  readonly host?: string
  /** As in the configuration. */
  readonly tags?: readonly object[]
  readonly pin?: readonly string[]
  readonly account?: { readonly username: string; readonly password: string }
  readonly cap?: Cap
  /** Paths that begin so are private. */
  readonly private?: readonly string[]
  /** Endpoints that are asked before the fake one. */
  readonly before?: readonly string[]
  /** For manifests; left out: 64 MiB. */
  readonly memoryBytes?: number
  /** Left out: always 0.5. */
  readonly random?: () => number
}

export type Rooms = Awaited<ReturnType<typeof openRooms>>
export type House = Rooms & {
  /** Stops everything and starts again on the same folder. */
  readonly restart: () => Promise<Rooms>
  /** Removes the folder. */
  readonly end: () => Promise<void>
}

export const NEVER = new AbortController().signal

export const ofTag = (text: string): Reference => ({ tag: parseTag(text) })
export const ofDigest = (digest: Digest): Reference => ({ digest })

/** The decisions over a real index, a real disk and real HTTP to a fake registry; their clock is moved by hand. */
export async function startHouse(fake: FakeUpstream, options: HouseOptions = {}): Promise<House> {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-cache-'))
  const rooms = await openRooms(folder, fake, options, new HandClock())
  const restart = async () => {
    await rooms[Symbol.asyncDispose]()
    return await openRooms(folder, fake, options, rooms.clock)
  }
  return Object.assign(rooms, { restart, end: () => rm(folder, { recursive: true, force: true }) })
}

async function openRooms(folder: string, fake: FakeUpstream, options: HouseOptions, clock: HandClock) {
  const outside = { ...outsideOf(clock), ...(options.random && { random: options.random }) }
  const host = findRegistryHost(options.host ?? 'registry.test')
  if (!host) throw new Error('no host')
  const upstream = new Upstream(host, configOf(host, fake.origin, options), outside, {
    log: silentLog,
    onCallerDenied: (path, as) => verdicts.refused({ host, path, as }),
  })
  const index: Index = await openSqliteIndex(folder, silentLog)
  const disk = await Disk.open({
    folder,
    cap: options.cap ?? { bytes: 1e9 },
    outside,
    log: silentLog,
    freeKeptBytes: 0,
  })
  const evicted: number[] = []
  const judged: string[] = []
  const upstreamOf = (each: Repository) => {
    if (each.host !== host) return undefined
    return each.as ? upstream.as(each.as).usual : upstream.ours
  }
  const log = silentLog
  const policies = new TagPolicies([[host, upstream.config.tags]])
  const pins = new Pins([[host, options.pin ?? []]])
  const evictor = new Evictor({ disk, index, pins, outside, log, onEvicted: (bytes) => void evicted.push(bytes) })
  const links = new Links(index, log)
  const verdicts = new Verdicts({
    isPrivate: ({ path }) => (options.private ?? []).some((prefix) => path.startsWith(prefix)),
    confirmingFor: (each) => each.as && upstream.as(each.as).confirming,
    onVerdict: (verdict) => void judged.push(verdict),
    ...{ outside, log },
  })
  const prover = new Prover({ upstreamOf, links, disk, log })
  const common = { upstreamOf, index, verdicts, outside, log }
  const manifests = new Manifests({
    ...common,
    disk,
    policies,
    links,
    prover,
    evictor,
    memoryBytes: options.memoryBytes ?? 64 * MIB,
  })
  const listings = new Listings(common)
  const repository = (path: string): Repository => ({ host, path: parseRepositoryPath(path) })
  /** As if it had been pulled through us: anonymously, or else by an account. */
  const hold = async (path: string, digest: Digest, bytes: Buffer, isPublic = true) => {
    await disk.put(digest, bytes)
    await links.prove(repository(path), digest, isPublic)
  }
  const closeAll = async () => {
    for (const each of [listings, manifests, verdicts, prover, evictor, upstream, disk, index])
      await each[Symbol.asyncDispose]()
  }
  return {
    ...{
      folder,
      clock,
      upstream,
      index,
      disk,
      evictor,
      links,
      verdicts,
      prover,
      manifests,
      listings,
      evicted,
      judged,
      repository,
      hold,
    },
    [Symbol.asyncDispose]: closeAll,
  }
}

function configOf(host: string, origin: string, { tags = [], pin = [], account, before = [] }: HouseOptions) {
  const accounts = account ? [account] : []
  const timeouts = { headers: '90s' } // the decisions' own limits are what is tested
  const given = { endpoints: [...before, origin], tags, pin, accounts, timeouts }
  const { upstreams } = configSchema.parse({ upstreams: { [host]: given } })
  const config = upstreams[host]
  if (!config) throw new Error('no upstream')
  return config
}

/** Waits for what happens behind an answer. */
export async function until(isTrue: () => boolean): Promise<void> {
  for (let turn = 0; turn < 10_000 && !isTrue(); turn++) await new Promise((resolve) => setTimeout(resolve, 2))
  if (!isTrue()) throw new Error('it did not come to pass')
}
