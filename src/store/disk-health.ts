import { rm } from 'node:fs/promises'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { codeOf, type DiskError } from './disk-error.ts'
import { writeFlushed } from './files.ts'

const PROBED_EACH_MS = 5_000
const PROBE_BYTES = 64 * 1024

/** Whether the disk works, as the last write told. A disk that failed is probed until a write works again. */
export class DiskHealth {
  readonly #probePath: string
  readonly #clock: Clock
  readonly #log: Log
  readonly #told = new WeakSet<DiskError>()
  #isDegraded = false
  #cancel: (() => void) | undefined
  #probing: Promise<void> | undefined
  #isClosed = false

  constructor(probePath: string, clock: Clock, log: Log) {
    this.#probePath = probePath
    this.#clock = clock
    this.#log = log
  }

  get isDegraded(): boolean {
    return this.#isDegraded
  }

  /** Something failed. What is only a limit of this process, or of how it was asked, says nothing of the disk. */
  failed(error: DiskError): void {
    if (this.#told.has(error)) return // by whoever met it first
    this.#told.add(error)
    const level = this.#isDegraded ? 'debug' : 'warn' // under load every write tells the same
    this.#log[level]({ error, code: codeOf(error.cause), kind: error.kind }, 'the disk failed us')
    if (!error.isOfDisk || this.#isDegraded) return
    this.#isDegraded = true
    this.#arm()
  }

  /** A write has worked from end to end. */
  worked(): void {
    if (!this.#isDegraded) return
    this.#isDegraded = false
    this.#cancel?.()
    this.#log.info({}, 'the disk works again')
  }

  /** No probe runs after this. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancel?.()
    await this.#probing
  }

  #arm(): void {
    if (this.#isClosed) return
    this.#cancel = this.#clock.after(PROBED_EACH_MS, () => {
      this.#probing = this.#probe()
    })
  }

  async #probe(): Promise<void> {
    try {
      await rm(this.#probePath, { force: true })
      await writeFlushed(this.#probePath, Buffer.alloc(PROBE_BYTES))
      await rm(this.#probePath, { force: true })
      this.worked()
    } catch (error) {
      this.#log.debug({ error }, 'the disk still fails')
      if (this.#isDegraded) this.#arm()
    }
  }
}
