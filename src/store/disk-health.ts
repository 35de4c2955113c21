import { rm } from 'node:fs/promises'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { codeOf, type DiskError } from './disk-error.ts'
import { writeFlushed } from './files.ts'
import { Looking } from './looking.ts'

/** After this without another refusal a disk that had no room counts as one that has. */
const REFUSED_MS = 60_000
const PROBE_BYTES = 64 * 1024

/**
 * `full`: it works, and something is not kept for want of room. `failing`: it doesn't do what a disk does. Either way
 * pulls go on without keeping.
 */
type DiskCondition = 'well' | 'full' | 'failing'

type Options = {
  /** Whether the folder is the one that was opened, set right where it can be; else why it isn't. */
  readonly findTrouble: () => Promise<DiskError | undefined>
  readonly shortBytes: (bytes: number) => number
  readonly probePath: string
  readonly clock: Clock
  readonly log: Log
}

const SAYINGS = {
  well: 'the disk works again',
  full: 'the disk is full: what comes is passed on and not kept',
  failing: 'the disk fails: what comes is passed on and not kept',
} as const satisfies Record<DiskCondition, string>

/**
 * What the disk is worth, as the last writes told, and a look now and then. One that is not well is probed until a
 * write works again.
 */
export class DiskHealth {
  readonly #options: Options
  readonly #told = new WeakSet<DiskError>()
  readonly #looking: Looking
  #condition: DiskCondition = 'well'
  #troubleTold: string | undefined
  #refused: { readonly bytes: number; readonly atMs: number } | undefined

  constructor(options: Options) {
    this.#options = options
    this.#looking = new Looking(options.clock, () => this.#look())
  }

  get condition(): DiskCondition {
    return this.#condition
  }

  /** Something failed. What is only a limit of this process, or of how it was asked, says nothing of the disk. */
  failed(error: DiskError): void {
    if (this.#told.has(error)) return // by whoever met it first
    this.#told.add(error)
    const level = this.#condition === 'well' ? 'warn' : 'debug' // under load every write tells the same
    this.#options.log[level]({ error, code: codeOf(error.cause), kind: error.kind }, 'the disk failed us')
    if (!error.isOfDisk) return
    if (error.kind === 'failed') this.#become('failing')
    else if (this.#condition === 'well') this.#become('full')
  }

  /** There was no room for so many bytes, and nothing that may be evicted for them. */
  refused(bytes: number): void {
    this.#refused = { bytes, atMs: this.#options.clock.monotonicMs() }
    if (this.#condition === 'well') this.#become('full')
  }

  /** A write has worked from end to end. */
  worked(): void {
    this.#become(this.#isShort() ? 'full' : 'well')
  }

  /** No probe runs after this. */
  close(): Promise<void> {
    return this.#looking[Symbol.asyncDispose]()
  }

  /** A small write works where there is no room for a large one. */
  #isShort(): boolean {
    const { clock, shortBytes } = this.#options
    const isLately = this.#refused && clock.monotonicMs() - this.#refused.atMs < REFUSED_MS
    if (!this.#refused || !isLately || shortBytes(this.#refused.bytes) === 0) this.#refused = undefined
    return this.#refused !== undefined
  }

  #become(condition: DiskCondition): void {
    if (condition === this.#condition) return
    this.#condition = condition
    this.#options.log[condition === 'well' ? 'info' : 'warn']({ condition }, SAYINGS[condition])
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const trouble = await this.#options.findTrouble()
    const level = trouble?.message === this.#troubleTold ? 'debug' : 'warn' // the same is told once
    this.#troubleTold = trouble?.message
    if (trouble) {
      this.#options.log[level]({ error: trouble }, 'the folder is not the one that was opened')
      this.#become('failing')
    } else if (this.#condition !== 'well') {
      await this.#probe()
    }
  }

  async #probe(): Promise<void> {
    const { probePath, log } = this.#options
    try {
      await rm(probePath, { force: true })
      await writeFlushed(probePath, Buffer.alloc(PROBE_BYTES))
      await rm(probePath, { force: true })
      this.worked()
    } catch (error) {
      log.debug({ error }, 'the disk still fails')
    }
  }
}
