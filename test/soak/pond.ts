import { existsSync } from 'node:fs'
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MillpondProcess } from '../support/process.ts'

const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1'
const FAKETIME_ARM = FAKETIME.replace('x86_64', 'aarch64')
const START_MS_MAX = 30_000

export type Descriptors = { readonly files: readonly string[]; readonly sockets: number; readonly others: number }

type Events = {
  /** It ended, and nobody had asked it to. */
  readonly onCrash: (status: number | null, err: string) => void
  readonly onBadStop: (status: number | null, err: string) => void
  /** A life is over: what it wrote. */
  readonly onText: (text: string) => void
}

/** The server under test: a real process, started again whenever it was ended. Times are monotonic. */
export class Pond {
  readonly configPath: string
  readonly events: Events
  readonly recoveriesMs: number[] = []
  /** From when to when it was not to be counted on. */
  readonly #disturbances: { readonly fromMs: number; toMs: number; readonly isDrain: boolean }[] = []
  readonly #clockPath: string
  #process: MillpondProcess | undefined
  #origins: { readonly origin: string; readonly adminOrigin: string } | undefined
  #isEnding = false
  #clockOffsetMs = 0
  #clockMostMs = 0
  #doubtSinceMs = Number.NEGATIVE_INFINITY
  #bornMs = 0

  constructor(configPath: string, folder: string, events: Events) {
    this.configPath = configPath
    this.events = events
    this.#clockPath = join(folder, 'clock')
  }

  /** Where clients ask; undefined while it is down. */
  get origin(): string | undefined {
    return this.#origins?.origin
  }

  get adminOrigin(): string | undefined {
    return this.#origins?.adminOrigin
  }

  get pid(): number | undefined {
    return this.#process?.child.pid
  }

  get bornMs(): number {
    return this.#bornMs
  }

  /** When its clock was last behind what it had been before; infinite while it is. */
  get doubtSinceMs(): number {
    return this.#clockOffsetMs < this.#clockMostMs ? Number.POSITIVE_INFINITY : this.#doubtSinceMs
  }

  get restarts(): number {
    return this.recoveriesMs.length
  }

  wasDisturbed(fromMs: number, toMs: number): boolean {
    return this.#disturbances.some((each) => each.fromMs <= toMs && each.toMs >= fromMs)
  }

  /** Whether an answer that had begun by `fromMs`, and ended at `toMs`, met a drain and nothing worse (fault 84). */
  wasDrained(fromMs: number, toMs: number): boolean {
    const met = this.#disturbances.filter((each) => each.fromMs <= toMs && each.toMs >= fromMs)
    return met.length > 0 && met.every((each) => each.isDrain && each.fromMs > fromMs)
  }

  /** @throws {Error} where it does not serve in time */
  async start(): Promise<void> {
    await this.#writeClock()
    const begun = new MillpondProcess(['serve', '--config', this.configPath], this.#environment())
    this.#process = begun
    this.#isEnding = false
    const late = new AbortController()
    const tooLate = sleep(START_MS_MAX, undefined, { signal: late.signal })
    this.#origins = await Promise.race([
      begun.serving(),
      tooLate.then(() => {
        throw new Error(`it does not serve within ${START_MS_MAX} ms: ${begun.err}`)
      }),
    ]).finally(() => late.abort())
    this.#bornMs = performance.now()
    void begun.ended().then(({ status, err }) => {
      if (this.#process !== begun || this.#isEnding) return
      this.#origins = undefined
      this.events.onCrash(status, err.slice(-2_000))
    })
  }

  /** Ends it by these signals, and starts it again. */
  async restart(signals: readonly NodeJS.Signals[]): Promise<void> {
    const isDrain = signals.length === 1 && signals[0] === 'SIGTERM'
    const disturbance = { fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY, isDrain }
    this.#disturbances.push(disturbance)
    await this.end(signals)
    const startedMs = performance.now()
    await this.start()
    this.recoveriesMs.push(performance.now() - startedMs)
    disturbance.toMs = performance.now() + 500
  }

  /** Ends it. A clean stop is one that ends with 0. */
  async end(signals: readonly NodeJS.Signals[]): Promise<void> {
    const ending = this.#process
    if (!ending) return
    this.#isEnding = true
    const isClean = signals.length === 1 && signals[0] === 'SIGTERM'
    this.#origins = undefined
    for (const signal of signals) {
      ending.kill(signal)
      if (signals.length > 1) await sleep(200)
    }
    const { status, out, err } = await ending.ended()
    this.#process = undefined
    this.events.onText(out)
    this.events.onText(err)
    if (isClean && status !== 0) this.events.onBadStop(status, err.slice(-2_000))
  }

  /** As a host that sleeps: no turn of its loop until `lastsMs` are over. */
  async suspend(lastsMs: number): Promise<void> {
    const disturbance = { fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY, isDrain: false }
    this.#disturbances.push(disturbance)
    const suspended = this.#process
    suspended?.kill('SIGSTOP')
    await sleep(lastsMs)
    suspended?.kill('SIGCONT')
    disturbance.toMs = performance.now() + 500
  }

  /** The wall clock is off by so much from now on, give or take a second. */
  async stepClock(offsetMs: number): Promise<void> {
    if (this.#clockOffsetMs < this.#clockMostMs) this.#doubtSinceMs = performance.now()
    this.#clockOffsetMs = offsetMs
    this.#clockMostMs = Math.max(this.#clockMostMs, offsetMs)
    await this.#writeClock()
  }

  /** Ends it without a word, for when everything is over. */
  kill(): void {
    this.#isEnding = true
    this.#process?.kill('SIGKILL')
  }

  async descriptors(): Promise<Descriptors> {
    const folder = `/proc/${this.pid}/fd`
    const links = await Promise.all(
      (await readdir(folder).catch(() => [])).map((fd) => readlink(join(folder, fd)).catch(() => '')),
    )
    const held = links.filter((link) => link !== '')
    const files = held.filter((link) => link.startsWith('/') && !link.startsWith('/dev/'))
    const sockets = held.filter((link) => link.startsWith('socket:')).length
    return { files, sockets, others: held.length - files.length - sockets }
  }

  async residentBytes(): Promise<number> {
    const text = await readFile(`/proc/${this.pid}/status`, 'latin1').catch(() => '')
    return Number(/^VmRSS:\s+([0-9]+) kB/m.exec(text)?.[1] ?? Number.NaN) * 1024
  }

  #environment(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: libfaketime(),
      FAKETIME_TIMESTAMP_FILE: this.#clockPath,
      FAKETIME_DONT_FAKE_MONOTONIC: '1', // Node hangs without (faults.md, tool C)
      FAKETIME_CACHE_DURATION: '1',
      NO_FAKE_STAT: '1', // a step of the clock moves no file's time
      // glibc keeps what large buffers leave behind, unless it is told not to: resident would not be in use
      MALLOC_MMAP_THRESHOLD_: '131072',
      MALLOC_ARENA_MAX: '2',
    }
  }

  #writeClock(): Promise<void> {
    const sign = this.#clockOffsetMs < 0 ? '-' : '+'
    return writeFile(this.#clockPath, `${sign}${Math.abs(Math.round(this.#clockOffsetMs / 1000))}\n`)
  }
}

/** @throws {Error} a sentence, where there is none */
export function libfaketime(): string {
  const found = [FAKETIME, FAKETIME_ARM].find((path) => existsSync(path))
  if (!found) throw new Error('the clock could not be stepped: apt-get install libfaketime')
  return found
}
