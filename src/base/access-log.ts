import { write } from 'node:fs'
import type { Clock } from './clock.ts'
import type { Outcome, Route } from './metrics.ts'
import { sizeText } from './units.ts'

/** One request, when it has ended. `path` is the request's, escaped here; no query, no header of the client's. */
export type AccessEntry = {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly route: Route
  readonly outcome: Outcome
  /** Registry host; undefined where the request named none that we know. */
  readonly upstream: string | undefined
  readonly repository: string | undefined
  readonly digest: string | undefined
  /** Of the body, as sent. */
  readonly bytes: number
  readonly ms: number
  /** The client's address. */
  readonly from: string | undefined
}

export type AccessSink = (text: string) => Promise<void>

type Options = { readonly clock: Clock; readonly isPretty: boolean; readonly onLost: (lines: number) => void }

const BATCH_CHARS = 64 * 1024 // each batch wakes a thread of the pool, which costs as much as ten lines
const BATCH_MS = 200
/** Beyond it, nobody is reading: lines are dropped and counted, memory stays. */
const WAITING_CHARS_MAX = 1024 * 1024

/** One line a request, in batches of our own: a logger's call for each costs as much as answering it. */
export class AccessLog implements AsyncDisposable {
  readonly #clock: Clock
  readonly #sink: AccessSink
  readonly #lineOf: (entry: AccessEntry, time: string) => string
  readonly #onLost: (lines: number) => void
  #waiting = ''
  #writing: Promise<void> | undefined
  #cancelTimer: (() => void) | undefined
  #timeMs = 0
  #time = ''

  constructor(sink: AccessSink, { clock, isPretty, onLost }: Options) {
    this.#sink = sink
    this.#clock = clock
    this.#onLost = onLost
    this.#lineOf = isPretty ? prettyLine : jsonLine
  }

  write(entry: AccessEntry): void {
    if (this.#waiting.length > WAITING_CHARS_MAX) {
      this.#onLost(1)
      return
    }
    this.#waiting += this.#lineOf(entry, this.#now())
    if (this.#waiting.length >= BATCH_CHARS) this.#flush()
    else this.#cancelTimer ??= this.#clock.after(BATCH_MS, () => this.#flush())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    while (this.#waiting !== '' || this.#writing) {
      this.#flush()
      await this.#writing
    }
    this.#cancelTimer?.()
  }

  #flush(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    if (this.#writing || this.#waiting === '') return
    const batch = this.#waiting
    this.#waiting = ''
    this.#writing = this.#sink(batch)
      .catch(() => this.#onLost(batch.split('\n').length - 1)) // a log that can't be written must not stop a pull
      .finally(() => {
        this.#writing = undefined
        if (this.#waiting.length >= BATCH_CHARS) this.#flush()
        else if (this.#waiting !== '') this.#cancelTimer ??= this.#clock.after(BATCH_MS, () => this.#flush())
      })
  }

  /** Many requests end within one millisecond; its text is made once. */
  #now(): string {
    const ms = Math.floor(this.#clock.wallMs())
    if (ms !== this.#timeMs) {
      this.#timeMs = ms
      this.#time = new Date(ms).toISOString()
    }
    return this.#time
  }
}

/** Writes to standard output on the thread pool: a reader who stands still holds one thread of it, never the loop. */
export const toStandardOutput: AccessSink = async (text) => {
  let rest = Buffer.from(text)
  while (rest.length > 0) rest = rest.subarray(await writeSome(rest))
}

const writeSome = (bytes: Buffer): Promise<number> =>
  new Promise((resolve, reject) => write(1, bytes, (error, written) => (error ? reject(error) : resolve(written))))

function jsonLine(entry: AccessEntry, time: string): string {
  const { upstream, repository, digest, from } = entry
  return (
    `{"level":"info","time":"${time}","msg":"answered","method":${JSON.stringify(entry.method)},` +
    `"path":${JSON.stringify(entry.path)},"status":${entry.status},"route":"${entry.route}",` +
    `"outcome":"${entry.outcome}",${upstream === undefined ? '' : `"upstream":"${upstream}",`}` +
    `${repository === undefined ? '' : `"repository":"${repository}",`}` +
    `${digest === undefined ? '' : `"digest":"${digest}",`}"bytes":${entry.bytes},"ms":${entry.ms.toFixed(1)}` +
    `${from === undefined ? '' : `,"from":"${from}"`}}\n`
  )
}

function prettyLine(entry: AccessEntry, time: string): string {
  const { status, outcome, bytes, ms, method, path } = entry
  const upstream = entry.upstream ?? '-'
  const digest = entry.digest === undefined ? '' : ` ${entry.digest.slice(0, 'sha256:'.length + 12)}`
  const shownPath = JSON.stringify(path).slice(1, -1) // escapes what could move a terminal's cursor
  const size = sizeText(bytes)
  const columns = `${status} ${outcome.padEnd(7)} ${size.padStart(9)} ${ms.toFixed(1).padStart(8)} ms`
  return `${time.slice(11, 23)} ${columns}  ${method} ${shownPath}  ${upstream}${digest}\n`
}
