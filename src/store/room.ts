import { type StatsFs, statfsSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import type { Cap } from '../base/config.ts'
import { GIB } from '../base/units.ts'

const FREE_CACHED_MS = 1_000
const FREE_KEPT_BYTES = GIB
const FREE_KEPT_PART = 0.05

type Options = {
  readonly folder: string
  readonly cap: Cap
  readonly clock: Clock
  readonly freeKeptBytes?: number | undefined
}

/**
 * How much there is and how much of it is taken. A byte is taken when it is reserved; one that is reserved and not
 * written yet will still lower the volume's free space, so what counts is the space free once all reservations are
 * used.
 */
export class Room {
  readonly freeKeptBytes: number
  readonly #folder: string
  readonly #clock: Clock
  #capBytes: number
  #usedBytes = 0
  #unwrittenBytes = 0
  #freeOfOurs: { readonly bytes: number | undefined; readonly atMs: number } | undefined

  constructor({ folder, cap, clock, freeKeptBytes }: Options) {
    const volumeBytes = sizeOf(statfsSync(folder))
    this.#folder = folder
    this.#clock = clock
    this.#capBytes = bytesOf(cap, () => volumeBytes)
    this.freeKeptBytes = freeKeptBytes ?? Math.min(FREE_KEPT_BYTES, Math.floor(volumeBytes * FREE_KEPT_PART))
  }

  get capBytes(): number {
    return this.#capBytes
  }

  /** From now on so much may be taken; what is taken beyond it is short. @throws where the volume doesn't answer */
  setCap(cap: Cap): void {
    this.#capBytes = bytesOf(cap, () => sizeOf(statfsSync(this.#folder)))
  }

  /** Blobs, and what spools hold or have reserved. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** Takes (or, negative, gives back) bytes, of which `unwrittenBytes` are not in files yet. */
  take(bytes: number, unwrittenBytes = 0): void {
    this.#usedBytes += bytes
    this.#unwrittenBytes += unwrittenBytes
  }

  share(): Share {
    return new Share(this)
  }

  /**
   * How many bytes must go before `bytes` more fit under the cap and leave the free space that is kept; 0: they fit.
   */
  shortBytes(bytes: number): number {
    const overCap = this.#usedBytes + bytes - this.#capBytes
    const ceiling = this.#ceilingBytes()
    const overVolume = ceiling === undefined ? 0 : this.#usedBytes + bytes - ceiling
    return Math.max(0, overCap, overVolume)
  }

  /** What our files could come to on this volume, leaving what is kept free; asked at most once a second. */
  #ceilingBytes(): number | undefined {
    const nowMs = this.#clock.monotonicMs()
    if (!this.#freeOfOurs || nowMs - this.#freeOfOurs.atMs > FREE_CACHED_MS) {
      const freeBytes = findFreeBytes(this.#folder)
      const writtenBytes = this.#usedBytes - this.#unwrittenBytes
      const bytes = freeBytes === undefined ? undefined : freeBytes + writtenBytes - this.freeKeptBytes
      this.#freeOfOurs = { bytes, atMs: nowMs }
    }
    return this.#freeOfOurs.bytes
  }
}

/** One spool's part of the room: it changes as a whole, and never takes the same byte twice. */
export class Share {
  readonly #room: Room
  #reservedBytes = 0
  #writtenBytes = 0

  constructor(room: Room) {
    this.#room = room
  }

  /** What is in the file counts, were it more than what was reserved for it. */
  set(reservedBytes: number, writtenBytes: number): void {
    const reserved = Math.max(reservedBytes, writtenBytes)
    const unwrittenBefore = this.#reservedBytes - this.#writtenBytes
    this.#room.take(reserved - this.#reservedBytes, reserved - writtenBytes - unwrittenBefore)
    this.#reservedBytes = reserved
    this.#writtenBytes = writtenBytes
  }
}

/** Undefined where the volume doesn't answer: evicting everything would not help then. */
function findFreeBytes(folder: string): number | undefined {
  try {
    const volume = statfsSync(folder)
    return volume.bavail * volume.bsize
  } catch {
    return undefined // the next write meets the same failure and reports it
  }
}

const bytesOf = (cap: Cap, volumeBytes: () => number): number =>
  'bytes' in cap ? cap.bytes : Math.floor(volumeBytes() * cap.ofVolume)

const sizeOf = (volume: StatsFs): number => volume.blocks * volume.bsize
