import { readFile, stat } from 'node:fs/promises'
import type { Clock } from './clock.ts'
import { unreadableText } from './config-files.ts'
import type { Log } from './log.ts'

/** A file's meaning, or what is wrong with it, in words that follow its name. */
type Read<T> = { readonly at: 'read'; readonly value: T } | { readonly at: 'wrong'; readonly says: string }

export type WatchedParts<T> = {
  readonly name: string
  readonly read: (text: string) => Read<T>
  /** Its meaning at the start. */
  readonly value: T
  readonly clock: Clock
  readonly log: Log
}

/** It is looked at when somebody needs it, this often at most. */
const LOOK_EVERY_MS = 1_000
/** A larger one is wrong. */
export const WATCHED_BYTES_MAX = 1024 * 1024

/**
 * A small file of the operator's that is read again when it has changed. One that is gone or wrong changes nothing:
 * what it said before holds, and the log says so once.
 */
export class WatchedFile<T> {
  readonly #parts: WatchedParts<T>
  #value: T
  /** Undefined before the first look, which reads the file: it may have changed since the start began. */
  #stamp: string | undefined
  #lookedMs = -Infinity
  #looking: Promise<void> | undefined

  constructor(parts: WatchedParts<T>) {
    this.#parts = parts
    this.#value = parts.value
  }

  /** Another object each time that the file has changed. */
  get value(): T {
    return this.#value
  }

  /** Resolves when the file has been looked at; undefined where that was within the second. Never rejects. */
  look(): Promise<void> | undefined {
    if (this.#looking) return this.#looking
    const nowMs = this.#parts.clock.monotonicMs()
    if (nowMs - this.#lookedMs < LOOK_EVERY_MS) return undefined
    this.#lookedMs = nowMs
    this.#looking = this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<void> {
    const { name, read, log } = this.#parts
    const { stamp, sizeBytes } = await stampOf(name)
    if (stamp === this.#stamp) return
    this.#stamp = stamp // of before the reading: what changes meanwhile has another
    const found = sizeBytes > WATCHED_BYTES_MAX ? TOO_LARGE : await readBy(name, read)
    if (found.at === 'read') this.#value = found.value
    else log.error({ file: name, says: found.says }, 'a file has changed and is wrong: what it said before holds')
  }
}

const TOO_LARGE = { at: 'wrong', says: 'it is larger than 1 MiB' } as const

/** What is another when a file was written or replaced; a file that can't be asked has one too. */
async function stampOf(name: string): Promise<{ stamp: string; sizeBytes: number }> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(name, { bigint: true })
    return { stamp: `${ino} ${size} ${mtimeNs} ${ctimeNs}`, sizeBytes: Number(size) }
  } catch (error) {
    return { stamp: unreadableText(error), sizeBytes: 0 }
  }
}

async function readBy<T>(name: string, read: (text: string) => Read<T>): Promise<Read<T>> {
  try {
    return read(await readFile(name, 'utf8'))
  } catch (error) {
    return { at: 'wrong', says: `it can't be read: ${unreadableText(error)}` }
  }
}
