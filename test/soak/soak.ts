import { createWriteStream } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MillpondProcess } from '../support/process.ts'
import { bookTroublesIn, misnamedBlobsIn, secretsIn, strayFilesIn, useTroublesIn } from './aftermath.ts'
import { Client } from './client.ts'
import { underWayIn } from './gauges.ts'
import { happen, type Scene } from './happen.ts'
import { Judge } from './judge.ts'
import { Pond } from './pond.ts'
import { Random } from './random.ts'
import { type Fault, type Kind, scheduleOf } from './schedule.ts'
import { configOf, WINDOWS } from './settings.ts'
import { Volume } from './volume.ts'
import { Watch } from './watch.ts'
import { RIGHT, World } from './world.ts'

export type SoakOptions = {
  readonly seed: number
  readonly seconds: number
  readonly load: number
  /** Upstreams do nothing wrong, and no pull may fail. */
  readonly isWell: boolean
}

/** Without a fault or a client, before it is looked at whether all came to rest. */
const QUIET_MS = 10_000
/** Until the faults begin and what is at rest is noted. */
const REST_MS = 1_000
const HEALED_MS_MAX = 10_000
const MEMORY_LEFT_MAX = 64 * 1024 * 1024
const IN_ONE_LIFE: ReadonlySet<Kind> = new Set(['SIGKILL', 'SIGTERM', 'SIGTERM twice', 'suspended'])

/** Everything of one run, from the first bit that was drawn to the last file that was hashed. */
export class Soak implements AsyncDisposable {
  readonly options: SoakOptions
  readonly folder: string
  readonly judge: Judge
  readonly world: World
  readonly volume: Volume
  readonly pond: Pond
  readonly watch: Watch
  readonly faultCounts = new Map<Kind, number>()
  readonly #events: ReturnType<typeof createWriteStream>
  readonly #beganMs = performance.now()
  readonly #damaged = new Set<string>()
  readonly #texts: string[] = []

  /** @throws {Error} a sentence, where this machine can't do it */
  static async prepare(options: SoakOptions): Promise<Soak> {
    const folder = await mkdtemp(join(tmpdir(), `millpond-soak-${options.seed}-`))
    const world = await World.start(options.seed)
    await world.open()
    const volume = new Volume(Math.ceil(world.catalogue.workingSetBytes / 3))
    const soak = new Soak(options, folder, world, volume)
    await writeFile(soak.pond.configPath, configOf(world, volume.store))
    return soak
  }

  private constructor(options: SoakOptions, folder: string, world: World, volume: Volume) {
    this.options = options
    this.folder = folder
    this.world = world
    this.volume = volume
    this.#events = createWriteStream(this.eventsPath)
    this.judge = new Judge({
      truth: world.truth,
      windows: WINDOWS,
      bytesOf: world.catalogue.bytesOf,
      wasDisturbed: (fromMs, toMs) => this.pond.wasDisturbed(fromMs, toMs),
      wasDrained: (fromMs, toMs) => this.pond.wasDrained(fromMs, toMs),
      lastLieMs: (kind, about) => world.lastLieMs(kind, about),
      doubtSinceMs: () => this.pond.doubtSinceMs,
      hadRight: (isGiven, fromMs, toMs) =>
        world.truth.wasTrue(...RIGHT, isGiven ? world.catalogue.mine.index : undefined, fromMs, toMs),
    })
    this.judge.onCrime = (crime, what) => this.#note({ crime, what })
    this.pond = new Pond(join(folder, 'config.yaml'), folder, {
      onCrash: (status, err) => this.judge.accuse('crashes', `it ended with ${status}: ${err}`),
      onBadStop: (status, err) => this.judge.accuse('bad stops', `SIGTERM ended it with ${status}: ${err}`),
      onText: (text) => this.#texts.push(text),
    })
    this.watch = new Watch(this.pond, world, (text) => this.#texts.push(text))
  }

  get eventsPath(): string {
    return join(this.folder, 'events.jsonl')
  }

  get schedule(): readonly Fault[] {
    const { seed, seconds, isWell } = this.options
    return scheduleOf(new Random(seed).fork('faults'), seconds * 1000 - QUIET_MS, isWell)
  }

  async run(): Promise<void> {
    await this.pond.start()
    await sleep(REST_MS)
    await this.watch.noteRest()
    await this.#load()
    await this.world.heal()
    await this.volume.empty()
    await this.pond.stepClock(0)
    this.#note({ phase: 'quiet' })
    await sleep(QUIET_MS)
    await this.#judgeRest()
    await this.#judgeHealed()
    await this.pond.end(['SIGTERM'])
    await this.#judgeFolder()
  }

  /** Of what the watchdog interrupts too. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.watch[Symbol.dispose]()
    this.pond.kill()
    await this.world[Symbol.asyncDispose]()
    this.volume[Symbol.dispose]()
    await writeFile(join(this.folder, 'server.log'), this.#texts.join('\n'))
    await new Promise<void>((resolve) => this.#events.end(resolve))
  }

  /** What must be undone even where nothing can be awaited any more. */
  abandon(): void {
    this.pond.kill()
    this.volume[Symbol.dispose]()
  }

  async #load(): Promise<void> {
    const { seed, seconds, load } = this.options
    const over = new AbortController()
    const around = {
      ...{ world: this.world, judge: this.judge, signal: over.signal },
      origin: () => this.pond.origin,
      log: (event: object) => this.#note(event),
    }
    const random = new Random(seed)
    const clients = Array.from({ length: load }, (_, at) => new Client(`c${at}`, random.fork(`client ${at}`), around))
    const running = clients.map((client) => client.run())
    const faults = this.#unfold(over.signal)
    await sleep(seconds * 1000 - QUIET_MS)
    over.abort()
    await Promise.all([...running, faults])
  }

  /** The schedule, as far as time goes; what ends the process waits until it serves again. */
  async #unfold(signal: AbortSignal): Promise<void> {
    const { world, pond, volume } = this
    const scene: Scene = {
      ...{ world, pond, volume, damaged: this.#damaged, signal },
      random: new Random(this.options.seed).fork('lies'),
      note: (event) => this.#note(event),
    }
    const beganMs = performance.now()
    const underWay: Promise<void>[] = []
    let life = Promise.resolve()
    for (const fault of this.schedule) {
      await sleep(Math.max(0, fault.atMs - (performance.now() - beganMs)), undefined, { signal }).catch(() => undefined)
      if (signal.aborted) break
      const act = async () => {
        if (signal.aborted) return
        this.faultCounts.set(fault.kind, (this.faultCounts.get(fault.kind) ?? 0) + 1)
        this.#note({ fault })
        await happen(fault, scene).catch((error: unknown) => this.judge.accuse('crashes', `${fault.kind}: ${error}`))
      }
      if (IN_ONE_LIFE.has(fault.kind)) life = life.then(act)
      else underWay.push(act())
    }
    await Promise.all([...underWay, life])
  }

  async #judgeRest(): Promise<void> {
    const reading = await this.watch.read()
    if (!reading) return this.judge.accuse('left under way', 'the numbers are not to be had')
    for (const what of underWayIn(reading.numbers)) this.judge.accuse('left under way', what)
    const usedBytes = reading.numbers.get('millpond_disk_bytes') ?? Number.NaN
    for (const what of await useTroublesIn(this.volume.store, usedBytes)) this.judge.accuse('books unlike disk', what)
    for (const what of await this.watch.descriptorsLeft()) this.judge.accuse('descriptors left', what)
    const { startBytes, endBytes } = await this.watch.memory()
    if (endBytes > startBytes + MEMORY_LEFT_MAX) {
      this.judge.accuse('memory left', `${endBytes} bytes resident, ${startBytes} at the start`)
    }
  }

  /** With everything well again, an image of each repository comes whole, or it is told that upstream still rests. */
  async #judgeHealed(): Promise<void> {
    const { origin } = this.pond
    if (!origin) return this.judge.accuse('unhealed', 'it is down')
    for (const { host, path, images } of this.world.catalogue.repositories) {
      for (const { digest } of [...(images.at(-1)?.layers ?? [])]) {
        const url = `${origin}/v2/${host}/${path}/blobs/${digest}`
        const answer = await fetch(url, { signal: AbortSignal.timeout(HEALED_MS_MAX) }).catch(() => undefined) // late
        if (!answer) return this.judge.accuse('unhealed', `${url} has no answer`)
        const bytes = await answer.bytes().catch(() => undefined) // cut: it has no bytes then
        const isWhole = answer.status === 200 && bytes?.length === this.world.catalogue.sizeOf(digest)
        if (isWhole || answer.status === 503) continue
        this.judge.accuse('unhealed', `${url} got ${answer.status}, ${bytes?.length} bytes`)
      }
    }
  }

  async #judgeFolder(): Promise<void> {
    const { judge, world, volume } = this
    for (const what of await misnamedBlobsIn(volume.store, this.#damaged)) judge.accuse('misnamed blobs', what)
    for (const what of await bookTroublesIn(volume.store)) judge.accuse('books unlike disk', what)
    for (const what of await strayFilesIn(volume.store)) judge.accuse('books unlike disk', what)
    await this.#judgeVerified()
    world.tally()
    const secrets = [...world.canaries.all, ...world.tokens]
    for (const what of await secretsIn(volume.store, secrets)) judge.accuse('leaks', what)
    for (const secret of secrets) {
      if (this.#texts.some((text) => text.includes(secret))) judge.accuse('leaks', `the log or the numbers: ${secret}`)
    }
    for (const what of [...world.leaks, ...world.lootOfThieves()]) judge.accuse('leaks', what)
  }

  /** What nobody asked for since it was damaged is found by who looks at all of it. */
  async #judgeVerified(): Promise<void> {
    await using verify = new MillpondProcess(['verify', '--disk-folder', this.volume.store])
    const { status, out, err } = await verify.ended()
    if (status !== 0 && status !== 1) this.judge.accuse('bad stops', `verify ended with ${status}: ${err}`)
    for (const what of await misnamedBlobsIn(this.volume.store, new Set())) {
      this.judge.accuse('misnamed blobs', `${what}, and verify did not find it: ${out}`)
    }
  }

  #note(event: object): void {
    this.#events.write(`${JSON.stringify({ atMs: Math.round(performance.now() - this.#beganMs), ...event })}\n`)
  }
}
