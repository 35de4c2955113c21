import { Counter, Gauge, Registry } from '@prometheus-io/client'
import { type Fault, REFUSALS, type Reason } from './errors.ts'
import { LoopLag } from './loop-lag.ts'

const ROUTES = ['ping', 'manifest', 'blob', 'tags', 'referrers', 'write', 'other'] as const
const OUTCOMES = ['hit', 'stale', 'miss', 'joined', 'passed', 'refused', 'failed', 'left'] as const
const VERDICTS = ['yes', 'no', 'unconfirmed'] as const
const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx', 'failed'] as const

/** What kind of thing was asked for. */
export type Route = (typeof ROUTES)[number]

/**
 * How it ended: answered from here (`hit`), from here though no longer fresh (`stale`), from upstream (`miss`), from a
 * fetch that another request had started (`joined`), `passed` on; `refused` is a 4xx, `failed` a 5xx or a body cut
 * short, `left` a client who went before the end.
 */
export type Outcome = (typeof OUTCOMES)[number]

/** What is asked for when somebody reads the numbers. `quarantined` counts since the start. */
export type DiskNumbers = {
  readonly bytes: number
  readonly capBytes: number
  readonly blobs: number
  /** Blobs that are read at this moment. */
  readonly open: number
  readonly quarantined: number
}

/** What is under way at this moment: when nobody asks anything, all of it comes to 0. */
export type UnderWay = { readonly fills: number; readonly fillReaders: number; readonly answers: number }

type Child = { inc(amount?: number): void }
type UpstreamTallies = { readonly bytes: Tally; readonly requests: ReadonlyMap<string, Tally> }

/** Counts by adding, and tells the library when somebody reads: its own counting costs as much as parsing. */
class Tally {
  readonly #child: Child
  #untold = 0

  constructor(child: Child) {
    child.inc(0) // there from the start: else a rate would not see the first event
    this.#child = child
  }

  inc(amount = 1): void {
    this.#untold += amount
  }

  tell(): void {
    this.#child.inc(this.#untold)
    this.#untold = 0
  }
}

/** Label of an upstream that wasn't named at the start: labels are bounded. */
const OTHER = 'other'

/** The process's numbers. Children of labels are taken once; none is a repository or a digest. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #lag = new LoopLag()
  readonly #answers: ReadonlyMap<Route, ReadonlyMap<Outcome, Tally>>
  readonly #bytesOut: ReadonlyMap<Route, Tally>
  readonly #upstreams: ReadonlyMap<string, UpstreamTallies>
  readonly #refused: ReadonlyMap<Reason, Tally>
  readonly #fillFailures: Counter<'fault'>
  readonly #verdicts: Counter<'verdict'>
  readonly #evictedBlobs: Counter
  readonly #evictedBytes: Counter
  readonly #scrubbedBytes: Counter
  readonly #scrubCorrupt: Counter
  readonly #accessLinesLost: Counter

  /** @param upstreams registry hosts that may be a label */
  constructor(upstreams: Iterable<string>) {
    const answers = this.#counter('requests_total', 'Requests answered', ['route', 'outcome'])
    const bytesOut = this.#counter('client_bytes_total', 'Body bytes sent to clients', ['route'])
    const bytesIn = this.#counter('upstream_bytes_total', 'Body bytes received from upstreams', ['upstream'])
    const requests = this.#counter('upstream_requests_total', 'Requests to upstreams', ['upstream', 'status'])
    const refused = this.#counter('refused_total', 'What clients were refused, and why', ['reason'])
    this.#fillFailures = this.#counter('fill_failures_total', 'What sources did wrong', ['fault'])
    this.#verdicts = this.#counter('verdicts_total', 'Callers of private repositories judged', ['verdict'])
    for (const verdict of VERDICTS) this.#verdicts.inc({ verdict }, 0)
    this.#evictedBlobs = this.#counter('evicted_blobs_total', 'Blobs evicted to keep under the cap')
    this.#evictedBytes = this.#counter('evicted_bytes_total', 'Bytes freed by eviction')
    this.#scrubbedBytes = this.#counter('scrubbed_bytes_total', 'Bytes of blobs read to be compared with their digest')
    this.#scrubCorrupt = this.#counter('scrub_corrupt_total', 'Blobs that were not what they should be when scrubbed')
    this.#accessLinesLost = this.#counter('access_lines_lost_total', 'Access lines dropped because nobody read them')
    this.#answers = new Map(ROUTES.map((route) => [route, outcomesOf(answers, route)]))
    this.#bytesOut = new Map(ROUTES.map((route) => [route, new Tally(bytesOut.labels({ route }))]))
    this.#upstreams = new Map(
      [...new Set([...upstreams, OTHER])].map((upstream) => [
        upstream,
        { bytes: new Tally(bytesIn.labels({ upstream })), requests: statusesOf(requests, upstream) },
      ]),
    )
    this.#refused = new Map(REFUSALS.map((reason) => [reason, new Tally(refused.labels({ reason }))]))
    this.#watchProcess()
  }

  countAnswer(route: Route, outcome: Outcome, bytes: number): void {
    this.#answers.get(route)?.get(outcome)?.inc()
    if (bytes > 0) this.#bytesOut.get(route)?.inc(bytes)
  }

  /** What is no refusal, such as an upstream that fails, counts for nothing here. */
  countRefused(reason: Reason): void {
    this.#refused.get(reason)?.inc()
  }

  /** @param status of the answer, or undefined where none came */
  countUpstreamRequest(upstream: string, status: number | undefined): void {
    const statusClass = status === undefined ? 'failed' : `${Math.floor(status / 100)}xx`
    this.#upstreamOf(upstream)?.requests.get(statusClass)?.inc()
  }

  countUpstreamBytes(upstream: string, bytes: number): void {
    this.#upstreamOf(upstream)?.bytes.inc(bytes)
  }

  countFillFailure(fault: Fault): void {
    this.#fillFailures.inc({ fault })
  }

  /** Whether upstream lets a caller read a private repository; `unconfirmed` where it could not be asked. */
  countVerdict(verdict: (typeof VERDICTS)[number]): void {
    this.#verdicts.inc({ verdict })
  }

  countEvicted(bytes: number): void {
    this.#evictedBlobs.inc()
    this.#evictedBytes.inc(bytes)
  }

  countScrubbed(bytes: number): void {
    this.#scrubbedBytes.inc(bytes)
  }

  countScrubCorrupt(): void {
    this.#scrubCorrupt.inc()
  }

  countAccessLinesLost(lines: number): void {
    this.#accessLinesLost.inc(lines)
  }

  /** Gauges are asked for when somebody reads them. */
  watch(parts: { disk: () => DiskNumbers; isDegraded: () => boolean; underWay: () => UnderWay }): void {
    const { disk, underWay } = parts
    this.#gauge('disk_bytes', 'Bytes of blobs and spools on the disk', () => disk().bytes)
    this.#gauge('disk_cap_bytes', 'Bytes that the disk may hold', () => disk().capBytes)
    this.#gauge('disk_blobs', 'Blobs on the disk', () => disk().blobs)
    this.#watchedCounter('quarantined_total', 'Blobs and spools set aside: wrong bytes', () => disk().quarantined)
    this.#gauge('open_blobs', 'Blobs that are read', () => disk().open)
    this.#gauge('fills_under_way', 'Fills under way', () => underWay().fills)
    this.#gauge('fill_readers', 'Clients who read from a fill or wait at it', () => underWay().fillReaders)
    this.#gauge('answers_under_way', 'Requests that wait for an answer or its rest', () => underWay().answers)
    const help = '1 while a part fails and is worked around'
    const isDegraded = this.#labelledGauge('degraded', help, 'part', (gauge) =>
      gauge.labels({ part: 'disk' }).set(parts.isDegraded() ? 1 : 0),
    )
    isDegraded.labels({ part: 'disk' }).set(0)
  }

  /** In Prometheus' text format. */
  text(): Promise<string> {
    for (const tally of this.#tallies()) tally.tell()
    return this.#registry.metrics()
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** Worst event-loop lag since the last reading by /readyz. */
  lagMs(): number {
    return this.#lag.takeMaxMs()
  }

  [Symbol.dispose](): void {
    this.#lag[Symbol.dispose]()
  }

  *#tallies(): Iterable<Tally> {
    for (const outcomes of this.#answers.values()) yield* outcomes.values()
    yield* this.#bytesOut.values()
    yield* this.#refused.values()
    for (const { bytes, requests } of this.#upstreams.values()) yield* [bytes, ...requests.values()]
  }

  #upstreamOf(upstream: string): UpstreamTallies | undefined {
    return this.#upstreams.get(upstream) ?? this.#upstreams.get(OTHER)
  }

  #watchProcess(): void {
    this.#labelledGauge('event_loop_lag_seconds', 'Event-loop lag since the last scrape', 'quantile', (gauge) => {
      for (const [quantile, ms] of this.#lag.takeQuantilesMs()) gauge.labels({ quantile }).set(ms / 1000)
    })
    this.#gauge('resident_memory_bytes', 'Resident memory of the process', () => process.memoryUsage.rss())
    this.#gauge('cpu_seconds', 'User and system CPU of the process', () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    })
  }

  #counter<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
    return new Counter({ name: `millpond_${name}`, help, labelNames: [...labelNames], registers: [this.#registry] })
  }

  /** A counter that something else counts. */
  #watchedCounter(name: string, help: string, read: () => number): void {
    new Counter({
      name: `millpond_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `millpond_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read())
      },
    })
  }

  #labelledGauge<L extends string>(name: string, help: string, label: L, collect: (gauge: Gauge<L>) => void): Gauge<L> {
    return new Gauge({
      name: `millpond_${name}`,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        collect(this)
      },
    })
  }
}

const outcomesOf = (counter: Counter<'route' | 'outcome'>, route: Route): ReadonlyMap<Outcome, Tally> =>
  new Map(OUTCOMES.map((outcome) => [outcome, new Tally(counter.labels({ route, outcome }))]))

const statusesOf = (counter: Counter<'upstream' | 'status'>, upstream: string): ReadonlyMap<string, Tally> =>
  new Map(STATUS_CLASSES.map((status) => [status, new Tally(counter.labels({ upstream, status }))]))
