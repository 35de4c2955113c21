import { type Numbers, readNumbers } from './gauges.ts'
import type { Descriptors, Pond } from './pond.ts'
import type { World } from './world.ts'

const EACH_MS = 1_000
/** A life has its caches and its pools after so much work: what is added from then on is a leak. */
const WARM_MS = 15_000

type Extent = { readonly start: number; peak: number; end: number }

/** Reads the server's numbers once a second: what they were at the start, at most, and at the end. */
export class Watch implements Disposable {
  readonly residentBytes: Extent = { start: 0, peak: 0, end: 0 }
  readonly descriptors: Extent = { start: 0, peak: 0, end: 0 }
  lagP99S = 0
  lagMaxS = 0
  quarantined = 0
  readonly #pond: Pond
  readonly #world: World
  readonly #onText: (text: string) => void
  readonly #timer: NodeJS.Timeout
  /** Of the life that is running. */
  #atRest: Descriptors | undefined
  #warmBytes = 0
  #life = 0
  #quarantinedInLife = 0
  #lagSinceMs = 0

  /** @param onText is told all that is read */
  constructor(pond: Pond, world: World, onText: (text: string) => void) {
    this.#pond = pond
    this.#world = world
    this.#onText = onText
    this.#timer = setInterval(() => void this.read(), EACH_MS)
  }

  /** Of the life that is running, when it had worked for a while. */
  get warmBytes(): number {
    return this.#warmBytes
  }

  /** Nobody has asked anything yet. */
  async noteRest(): Promise<void> {
    this.#atRest = await this.#pond.descriptors()
    Object.assign(this.descriptors, { start: sumOf(this.#atRest) })
    Object.assign(this.residentBytes, { start: await this.#pond.residentBytes() })
  }

  /** One reading of everything. Never rejects. */
  async read(): Promise<{ readonly numbers: Numbers } | undefined> {
    this.#world.tally()
    const { adminOrigin } = this.#pond
    if (!adminOrigin) return undefined
    await this.#readProcess()
    const reading = await readNumbers(adminOrigin)
    if (!reading) return undefined
    const { numbers, text } = reading
    this.#onText(text)
    this.#noteLag(numbers)
    const quarantined = numbers.get('millpond_quarantined_total') ?? 0
    if (quarantined > this.#quarantinedInLife) this.quarantined += quarantined - this.#quarantinedInLife
    this.#quarantinedInLife = quarantined
    return reading
  }

  /** A loop that was suspended did not lag. */
  #noteLag(numbers: Numbers): void {
    const nowMs = performance.now()
    const wasDisturbed = this.#pond.wasDisturbed(this.#lagSinceMs, nowMs)
    this.#lagSinceMs = nowMs
    if (wasDisturbed) return
    this.lagP99S = Math.max(this.lagP99S, numbers.get('millpond_event_loop_lag_seconds{quantile="0.99"}') ?? 0)
    this.lagMaxS = Math.max(this.lagMaxS, numbers.get('millpond_event_loop_lag_seconds{quantile="1"}') ?? 0)
  }

  /** Descriptors beyond those at rest and the connections to upstreams, which are kept for the next request. */
  async descriptorsLeft(): Promise<readonly string[]> {
    const now = await this.#pond.descriptors()
    const atRest = this.#atRest ?? now
    this.descriptors.end = sumOf(now)
    // SQLite maps one where it begins with what a killed process left
    const files = now.files.filter((path) => !atRest.files.includes(path) && !path.endsWith('.sqlite-shm'))
    const sockets = now.sockets - atRest.sockets - this.#world.openConnections
    return [
      ...files.map((path) => `${path} is open still`),
      ...(sockets > SOCKETS_OF_OURS ? [`${sockets} sockets more than at rest`] : []),
    ]
  }

  async memory(): Promise<{ readonly startBytes: number; readonly endBytes: number }> {
    const endBytes = await this.#pond.residentBytes()
    this.residentBytes.end = endBytes
    return { startBytes: this.#warmBytes || endBytes, endBytes }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  async #readProcess(): Promise<void> {
    const bytes = await this.#pond.residentBytes()
    const held = sumOf(await this.#pond.descriptors())
    if (Number.isNaN(bytes)) return
    this.residentBytes.peak = Math.max(this.residentBytes.peak, bytes)
    this.descriptors.peak = Math.max(this.descriptors.peak, held)
    if (this.#life !== this.#pond.bornMs) {
      this.#life = this.#pond.bornMs
      this.#warmBytes = 0
      this.#quarantinedInLife = 0
    }
    if (this.#warmBytes === 0 && performance.now() - this.#life > WARM_MS) this.#warmBytes = bytes
  }
}

/** The connections by which the numbers are read and tokens are asked for. */
const SOCKETS_OF_OURS = 4

const sumOf = ({ files, sockets, others }: Descriptors): number => files.length + sockets + others
