import { resolve } from 'node:path'
import { Admin } from './admin/admin.ts'
import { Readiness } from './admin/readiness.ts'
import { AccessLog, type AccessSink, toStandardOutput } from './base/access-log.ts'
import { type Outside, systemOutside } from './base/clock.ts'
import type { Config, Listen, UpstreamConfig } from './base/config.ts'
import { reloadedOf } from './base/config-reload.ts'
import { upstreamsOf } from './base/config-upstreams.ts'
import { connectionsWithin, descriptorsMax } from './base/descriptors.ts'
import type { Fault } from './base/errors.ts'
import { listenTrouble, StartError } from './base/listening.ts'
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
import { digestOf } from './oci/digest.ts'
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

/** What is handed in; a test hands in more of it. */
export type ServerOptions = {
  readonly log: Log
  readonly isPretty: boolean
  readonly outside?: Outside
  readonly proxies?: Proxies
  readonly accessSink?: AccessSink
  /** Of the volume, never filled; left out: the disk decides. */
  readonly freeKeptBytes?: number
}

/** What a server that has begun is. */
export type ServerFacts = {
  readonly listen: Listen
  readonly isTls: boolean
  /** Undefined where it is off. */
  readonly admin: Listen | undefined
  readonly folder: string
  readonly capBytes: number
  readonly usedBytes: number
  /** By name, the default first. */
  readonly upstreams: readonly string[]
  readonly startMs: number
}

type Parts = {
  readonly metrics: Metrics
  readonly disk: Disk
  readonly index: Index
  readonly fills: Fills
  readonly caches: Caches
  readonly front: Front
  readonly reload: (config: Config) => void
}

type Caches = { readonly manifests: Manifests; readonly listings: Listings; readonly blobs: Blobs }

/**
 * The composition root: builds from the bottom up and closes in reverse. What it built is one stack: where a part can't
 * be built, those below it are closed.
 */
export class Server implements AsyncDisposable {
  readonly metrics: Metrics
  readonly disk: Disk
  readonly index: Index
  readonly #parts: Parts
  readonly #stack: AsyncDisposableStack
  readonly #facts: ServerFacts
  readonly #phase: Phase
  #config: Config

  constructor(parts: Parts, stack: AsyncDisposableStack, config: Config, facts: ServerFacts, phase: Phase) {
    this.metrics = parts.metrics
    this.disk = parts.disk
    this.index = parts.index
    this.#parts = parts
    this.#stack = stack
    this.#config = config
    this.#facts = facts
    this.#phase = phase
  }

  facts(): ServerFacts {
    return this.#facts
  }

  get fillsUnderWay(): number {
    return this.#parts.fills.count
  }

  /**
   * Goes on by another configuration, as far as that can be done while it runs; requests under way end by the old one.
   * @returns the keys that have changed and need a restart @throws why nothing was taken over
   */
  reload(wanted: Config): readonly string[] {
    const { config, waiting } = reloadedOf(this.#config, wanted)
    this.#parts.reload(config)
    this.#config = config
    return waiting
  }

  /**
   * Unready at once; takes no one new; clients have 30 s to end; fills that nobody reads stop, their spools are kept.
   */
  async stop(): Promise<void> {
    this.#phase.now = 'draining'
    this.#parts.fills.drain()
    await this.#stack.disposeAsync()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}

/** Where a server is in its life; readiness asks. */
type Phase = { now: 'starting' | 'serving' | 'draining' }

/**
 * Builds a server and listens. Upstreams are not asked anything: it starts with all of them unreachable.
 *
 * @throws {StartError} a sentence: a port is taken, the folder is in use, a file of the configuration can't be read
 */
export async function startServer(config: Config, options: ServerOptions): Promise<Server> {
  const { outside = systemOutside } = options
  const beganMs = outside.clock.monotonicMs()
  await using stack = new AsyncDisposableStack()
  const upstreams = hostsOf(upstreamsOf(config))
  const phase: Phase = { now: 'starting' }
  const parts = await built(config, upstreams, { ...options, outside }, stack)
  const admin = await listenAdmin(config, parts, options.log, phase, stack)
  stack.use(parts.front) // closed first: clients end while everything behind them still works
  const listen = await listenFront(config, parts.front)
  phase.now = 'serving'
  const facts: ServerFacts = {
    listen,
    isTls: config.tls !== undefined,
    admin,
    folder: resolve(config.disk.folder),
    capBytes: parts.disk.capBytes,
    usedBytes: parts.disk.usedBytes,
    upstreams: [...upstreams].sort(([, a], [, b]) => Number(b.default) - Number(a.default)).map(([host]) => host),
    startMs: outside.clock.monotonicMs() - beganMs,
  }
  return new Server(parts, stack.move(), config, facts, phase)
}

type Given = ServerOptions & { readonly outside: Outside }
type ByHost = ReadonlyMap<RegistryHost, UpstreamConfig>

async function built(config: Config, upstreams: ByHost, given: Given, stack: AsyncDisposableStack): Promise<Parts> {
  const { log, outside } = given
  const metrics = stack.use(new Metrics(upstreams.keys()))
  stack.use(new LagWatch(outside.clock, log))
  const { disk, index } = await openStore(config, given, stack)
  const asked = stack.use(openUpstreams(upstreams, given, metrics, (refused) => verdicts.refused(refused)))
  const upstreamOf = asked.askedFor.bind(asked)
  const links = new Links(index, log)
  const verdicts = stack.use(
    new Verdicts({
      isPrivate: ({ host, path }) => asked.of(host)?.isPrivate(path) ?? false,
      confirmingFor: asked.confirmingFor.bind(asked),
      onVerdict: (verdict) => metrics.countVerdict(verdict),
      ...{ outside, log },
    }),
  )
  const pins = new Pins(pinsOf(upstreams))
  const policies = new TagPolicies(tagsOf(upstreams))
  const registries = new Registries(upstreams)
  const countFault = (fault: Fault) => metrics.countFillFailure(fault)
  const onEvicted = (bytes: number) => metrics.countEvicted(bytes)
  const evictor = stack.use(new Evictor({ disk, index, pins, outside, log, onEvicted }))
  const prover = stack.use(new Prover({ upstreamOf, links, disk, log }))
  const keeper = {
    reserve: evictor.reserve.bind(evictor),
    openSpool: disk.openSpool.bind(disk),
    commit: disk.commit.bind(disk),
    setAside: disk.setAside.bind(disk),
  }
  const fills = stack.use(
    new Fills({ keeper, outside, log }, config.limits, (end) => faultsOf(end).forEach(countFault)),
  )
  const memoryBytes = config.limits.manifestMemory
  const common = { upstreamOf, index, verdicts, outside, log }
  const caches: Caches = {
    manifests: stack.use(new Manifests({ ...common, disk, policies, links, prover, evictor, memoryBytes })),
    listings: stack.use(new Listings(common)),
    blobs: stack.use(new Blobs({ ...common, disk, links, fills })),
  }
  evictor.start()
  const { scrub } = config.disk
  const scrubber = new Scrubber({
    walk: disk.walk,
    rateBytes: scrub === 'off' ? 0 : scrub.bytes,
    outside,
    log,
    metrics,
  })
  stack.use(scrubber).start()
  const accessLog = config.log.requests ? stack.use(openAccessLog(given, metrics)) : undefined
  const front = await openFront(config, upstreams, { ...given, accessLog, metrics, caches, asked, registries })
  watch(metrics, disk, fills, front)
  const reload = (changed: Config) => {
    front.renew(readTls(changed)) // first what may fail
    disk.setCap(changed.disk.cap)
    const rules = hostsOf(upstreamsOf(changed))
    pins.replace(pinsOf(rules))
    policies.replace(tagsOf(rules))
    registries.obey(rules)
    evictor.start()
  }
  return { metrics, disk, index, fills, caches, front, reload }
}

const pinsOf = (upstreams: ByHost) => [...upstreams].map(([host, { pin }]) => [host, pin] as const)
const tagsOf = (upstreams: ByHost) => [...upstreams].map(([host, { tags }]) => [host, tags] as const)

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

async function listenFront({ listen }: Config, front: Front): Promise<Listen> {
  try {
    const { address, port } = await front.listen(listen)
    return { host: address, port }
  } catch (error) {
    throw listenTrouble('listen', listen, error)
  }
}

async function listenAdmin(config: Config, parts: Parts, log: Log, phase: Phase, stack: AsyncDisposableStack) {
  const { listen } = config.admin
  if (listen === 'off') return undefined
  const { metrics, disk, index } = parts
  const readiness = new Readiness({
    phase: () => phase.now,
    isDiskFailing: () => disk.isFailing,
    askIndex: () => index.findManifest(ANY_DIGEST),
    lagMs: () => metrics.lagMs(),
  })
  try {
    return await stack.use(new Admin({ metrics, readiness, log })).listen(listen)
  } catch (error) {
    throw listenTrouble('admin.listen', listen, error)
  }
}

/** A question that the index can answer at once, whatever it holds. */
const ANY_DIGEST = digestOf(Buffer.alloc(0))
