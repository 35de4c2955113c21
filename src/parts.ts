import { resolve } from 'node:path'
import { AccessLog, type AccessSink, toStandardOutput } from './base/access-log.ts'
import type { Outside } from './base/clock.ts'
import type { Config, UpstreamConfig } from './base/config.ts'
import { upstreamsOf } from './base/config-upstreams.ts'
import { connectionsWithin, descriptorsMax } from './base/descriptors.ts'
import type { Fault } from './base/errors.ts'
import { StartError } from './base/listening.ts'
import type { Log } from './base/log.ts'
import { LagWatch } from './base/loop-lag.ts'
import { Metrics } from './base/metrics.ts'
import { type Proxies, proxiesIn } from './base/proxies.ts'
import { Blobs } from './cache/blobs.ts'
import { Evictor } from './cache/evictor.ts'
import { faultsOf } from './cache/fill-faults.ts'
import { Fills } from './cache/fills.ts'
import { Links } from './cache/links.ts'
import { Listings } from './cache/listings.ts'
import { Manifests } from './cache/manifests.ts'
import { Pins } from './cache/pins.ts'
import { TagPolicies } from './cache/policies.ts'
import { Prover } from './cache/prover.ts'
import { Scrubber } from './cache/scrubber.ts'
import { Verdicts } from './cache/verdicts.ts'
import { findRegistryHost, type RegistryHost, type Repository } from './oci/names.ts'
import { openAccess } from './registry/access-open.ts'
import { BlobAnswers } from './registry/blobs.ts'
import { createFront, type Front } from './registry/front.ts'
import { ManifestAnswers } from './registry/manifests.ts'
import { Realm } from './registry/realm.ts'
import { Registries } from './registry/registries.ts'
import type { Passing } from './registry/routes.ts'
import { readTls } from './registry/tls-files.ts'
import type { WriteTarget } from './registry/writes.ts'
import { Disk } from './store/disk.ts'
import { DiskError } from './store/disk-error.ts'
import type { Index } from './store/index.ts'
import { Looking } from './store/looking.ts'
import { Buffers } from './store/reader.ts'
import { openSqliteIndex } from './store/sqlite.ts'
import { Upstreams } from './upstream/upstreams.ts'

/** What the parts are given besides the configuration. */
export type Given = {
  readonly log: Log
  readonly isPretty: boolean
  readonly outside: Outside
  readonly proxies?: Proxies
  readonly accessSink?: AccessSink
  /** Of the volume, never filled; left out: the disk decides. */
  readonly freeKeptBytes?: number
}

/** A server's parts, as its life needs them. */
export type Parts = {
  readonly metrics: Metrics
  readonly disk: Disk
  readonly index: Index
  readonly fills: Fills
  readonly front: Front
  /** The names of the upstreams, the default first. */
  readonly upstreams: readonly string[]
  /** Goes on by another configuration, as far as that can be done. @throws why not all was taken over */
  readonly reload: (config: Config) => void
}

type Caches = { readonly manifests: Manifests; readonly listings: Listings; readonly blobs: Blobs }
type ByHost = ReadonlyMap<RegistryHost, UpstreamConfig>

/**
 * Builds every part, from the bottom up, on `stack`. Nothing is dialled, and nobody listens yet.
 * @throws {StartError} a sentence: the folder is in use, a file of the configuration can't be read
 */
export async function buildParts(config: Config, given: Given, stack: AsyncDisposableStack): Promise<Parts> {
  const { log, outside } = given
  const upstreams = hostsOf(upstreamsOf(config))
  const metrics = stack.use(new Metrics(upstreams.keys()))
  stack.use(new LagWatch(outside.clock, log))
  const { disk, index } = await openStore(config, given, stack)
  const asked = stack.use(openUpstreams(upstreams, given, metrics, (refused) => verdicts.refused(refused)))
  const verdicts = stack.use(openVerdicts(asked, given, metrics))
  const rules = rulesOf(upstreams)
  const { fills, caches, evictor } = buildCaches(
    config,
    { ...given, metrics, disk, index, asked, verdicts, rules },
    stack,
  )
  evictor.start()
  stack.use(scrubberOf(config, disk, given, metrics)).start()
  const accessLog = config.log.requests ? stack.use(openAccessLog(given, metrics)) : undefined
  const { registries } = rules
  const front = await openFront(config, upstreams, { ...given, accessLog, metrics, caches, asked, registries })
  watch(metrics, disk, fills, front)
  const reload = (changed: Config) => {
    front.renew(readTls(changed)) // first what may fail
    disk.setCap(changed.disk.cap)
    obey(rules, hostsOf(upstreamsOf(changed)))
    evictor.start()
  }
  return { metrics, disk, index, fills, front, upstreams: namesOf(upstreams), reload }
}

const namesOf = (upstreams: ByHost): readonly string[] =>
  [...upstreams].sort(([, a], [, b]) => Number(b.default) - Number(a.default)).map(([host]) => host)

/** What of the upstreams' configuration may change while they are asked. */
type Rules = { readonly registries: Registries; readonly pins: Pins; readonly policies: TagPolicies }

const rulesOf = (upstreams: ByHost): Rules => ({
  registries: new Registries(upstreams),
  pins: new Pins(pinsOf(upstreams)),
  policies: new TagPolicies(tagsOf(upstreams)),
})

function obey({ registries, pins, policies }: Rules, upstreams: ByHost): void {
  registries.obey(upstreams)
  pins.replace(pinsOf(upstreams))
  policies.replace(tagsOf(upstreams))
}

const pinsOf = (upstreams: ByHost) => [...upstreams].map(([host, { pin }]) => [host, pin] as const)
const tagsOf = (upstreams: ByHost) => [...upstreams].map(([host, { tags }]) => [host, tags] as const)

type Below = Given & {
  readonly metrics: Metrics
  readonly disk: Disk
  readonly index: Index
  readonly asked: Upstreams
  readonly verdicts: Verdicts
  readonly rules: Rules
}

function buildCaches({ limits }: Config, below: Below, stack: AsyncDisposableStack) {
  const { log, outside, metrics, disk, index, asked, verdicts, rules } = below
  const upstreamOf = asked.askedFor.bind(asked)
  const { pins, policies } = rules
  const links = new Links(index, log)
  const onEvicted = (bytes: number) => metrics.countEvicted(bytes)
  const evictor = stack.use(new Evictor({ disk, index, pins, outside, log, onEvicted }))
  const prover = stack.use(new Prover({ upstreamOf, links, disk, log }))
  const keeper = {
    reserve: evictor.reserve.bind(evictor),
    openSpool: disk.openSpool.bind(disk),
    commit: disk.commit.bind(disk),
    setAside: disk.setAside.bind(disk),
  }
  const countFault = (fault: Fault) => metrics.countFillFailure(fault)
  const fills = stack.use(new Fills({ keeper, outside, log }, limits, (end) => faultsOf(end).forEach(countFault)))
  const common = { upstreamOf, index, verdicts, outside, log }
  const memoryBytes = limits.manifestMemory
  const caches: Caches = {
    manifests: stack.use(new Manifests({ ...common, disk, policies, links, prover, evictor, memoryBytes })),
    listings: stack.use(new Listings(common)),
    blobs: stack.use(new Blobs({ ...common, disk, links, fills })),
  }
  return { fills, caches, evictor }
}

const openVerdicts = (asked: Upstreams, { outside, log }: Given, metrics: Metrics): Verdicts =>
  new Verdicts({
    isPrivate: ({ host, path }) => asked.of(host)?.isPrivate(path) ?? false,
    confirmingFor: asked.confirmingFor.bind(asked),
    onVerdict: (verdict) => metrics.countVerdict(verdict),
    outside,
    log,
  })

function scrubberOf({ disk: { scrub } }: Config, { walk }: Disk, { outside, log }: Given, metrics: Metrics): Scrubber {
  return new Scrubber({ walk, rateBytes: scrub === 'off' ? 0 : scrub.bytes, outside, log, metrics })
}

async function openStore(config: Config, { log, outside, freeKeptBytes }: Given, stack: AsyncDisposableStack) {
  const { folder, cap } = config.disk
  try {
    const kept = freeKeptBytes === undefined ? {} : { freeKeptBytes }
    const disk = stack.use(await Disk.open({ folder: resolve(folder), cap, log, outside, ...kept }))
    const index = stack.use(await openSqliteIndex(resolve(folder), log))
    stack.use(new Looking(outside.clock, () => index.look()))
    return { disk, index }
  } catch (error) {
    if (error instanceof DiskError) throw new StartError(`${error.message} (the key is disk.folder)`, { cause: error })
    throw error
  }
}

/** Names that are no registry host were refused with the configuration. */
function hostsOf(upstreams: ReadonlyMap<string, UpstreamConfig>): ByHost {
  return new Map(
    [...upstreams].map(([name, upstream]) => {
      const host = findRegistryHost(name)
      if (!host) throw new StartError(`upstreams.${name} is no registry host`)
      return [host, upstream]
    }),
  )
}

function openUpstreams(
  upstreams: ByHost,
  { log, outside, proxies = proxiesIn() }: Given,
  metrics: Metrics,
  onCallerDenied: (refused: Repository) => void,
): Upstreams {
  try {
    return new Upstreams(upstreams, outside, {
      log,
      proxy: proxies,
      hooksOf: (host) => ({
        onAnswer: (status) => metrics.countUpstreamRequest(host, status === 'error' ? undefined : status),
        onBytes: (bytes) => metrics.countUpstreamBytes(host, bytes),
        onFault: (fault) => metrics.countFillFailure(fault),
        onCallerDenied: (path, as) => onCallerDenied({ host, path, as }),
      }),
    })
  } catch (error) {
    throw new StartError(error instanceof Error ? error.message : 'an upstream is wrong', { cause: error })
  }
}

type FrontGiven = Given & {
  readonly accessLog: AccessLog | undefined
  readonly metrics: Metrics
  readonly caches: Caches
  readonly asked: Upstreams
  readonly registries: Registries
}

function openFront(config: Config, upstreams: ByHost, given: FrontGiven): Promise<Front> {
  const { log, outside, accessLog, metrics, caches, asked, registries } = given
  const blobAnswers = new BlobAnswers(caches.blobs, new Buffers(config.limits.readBuffers))
  return createFront({
    registries,
    realm: registries.hasPrivate ? new Realm({ publicUrl: config.publicUrl, clock: outside.clock }) : undefined,
    manifests: new ManifestAnswers(caches.manifests),
    listings: caches.listings,
    answerBlob: (exchange, blob) => blobAnswers.answer(exchange, blob),
    targets: writeTargets(upstreams, asked),
    onWritten: (passing) => forgetWritten(caches, passing),
    clock: outside.clock,
    log,
    onDone: (done) => {
      metrics.countAnswer(done.route, done.outcome, done.bytes)
      accessLog?.write(done)
    },
    access: openAccess(config.access, { clock: outside.clock, log }),
    onRefused: (reason) => metrics.countRefused(reason),
    tls: readTls(config),
    limits: frontLimits(config.limits, log),
  })
}

function frontLimits(limits: Config['limits'], log: Log) {
  const descriptors = descriptorsMax()
  const connections = connectionsWithin(limits.connections, descriptors)
  if (connections < limits.connections) {
    log.warn({ connections, descriptors }, 'fewer clients at once than limits.connections: few files may be open')
  }
  return {
    connections,
    perAddress: limits.connectionsPerAddress,
    headBytes: limits.requestHead,
    requestsPerSocket: limits.requestsPerConnection,
    headMs: limits.headTimeout,
    idleMs: limits.idleTimeout,
    minimumBytesPerS: limits.minimumRate,
  }
}

/** What is begun at one endpoint must be ended there: the first. */
const writeTargets = (upstreams: ByHost, asked: Upstreams): readonly WriteTarget[] =>
  [...upstreams]
    .filter(([, { push }]) => push)
    .flatMap(([host]) => {
      const way = asked.writesOf(host)
      return way ? [{ host, ...way }] : []
    })

async function forgetWritten({ manifests, listings, blobs }: Caches, passing: Passing): Promise<void> {
  const { repository } = passing.target
  await manifests.forget(repository, passing.route === 'manifest' ? passing.reference : undefined)
  await blobs.forget(repository, passing.route === 'blob' ? passing.digest : undefined)
  await listings.forget(repository)
}

function openAccessLog({ outside, isPretty, accessSink = toStandardOutput }: Given, metrics: Metrics): AccessLog {
  const onLost = (lines: number) => metrics.countAccessLinesLost(lines)
  return new AccessLog(accessSink, { clock: outside.clock, isPretty, onLost })
}

function watch(metrics: Metrics, disk: Disk, fills: Fills, front: Front): void {
  metrics.watch({
    disk: () => {
      const { blobs, open, quarantined } = disk.counts()
      return { bytes: disk.usedBytes, capBytes: disk.capBytes, blobs, open, quarantined }
    },
    isDegraded: () => disk.isDegraded,
    underWay: () => ({ fills: fills.count, fillReaders: fills.readers, answers: front.answersUnderWay }),
  })
}
