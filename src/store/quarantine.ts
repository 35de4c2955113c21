import { readdir, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { removeFile } from './files.ts'

/** What is set aside is for a person to look at: the newest few, and no more bytes than these. */
const FILES_MAX = 16
const PART_OF_CAP = 0.05

/** Files whose bytes are not what they should be. Nothing is ever served from here. */
export class Quarantine {
  readonly #folder: string
  readonly #capBytes: () => number
  readonly #clock: Clock
  readonly #log: Log
  #setAside = 0
  /** One at a time: two would each miss files that the other removes. */
  #trimming: Promise<void> = Promise.resolve()

  constructor(folder: string, capBytes: () => number, clock: Clock, log: Log) {
    this.#folder = folder
    this.#capBytes = capBytes
    this.#clock = clock
    this.#log = log
  }

  /** How many were set aside since the start. */
  get count(): number {
    return this.#setAside
  }

  /** Moves the file here; one that can't be moved is removed. Never rejects. */
  async setAside(path: string, name: string, why: string): Promise<void> {
    this.#setAside += 1
    this.#log.warn({ name, why }, 'a file was set aside')
    try {
      await rename(path, join(this.#folder, `${name}.${this.#clock.wallMs()}.${this.#setAside}`))
    } catch (error) {
      this.#log.warn({ name, error }, 'a file could not be set aside')
      await removeFile(path)
    }
    await this.trim()
  }

  /** Makes it as small as it is to be by the cap of now. Never rejects. */
  trim(): Promise<void> {
    this.#trimming = this.#trimming
      .then(() => this.#trim())
      .catch((error) => this.#log.warn({ error }, 'what was set aside could not be looked through'))
    return this.#trimming
  }

  /** The oldest go first. */
  async #trim(): Promise<void> {
    const names = await readdir(this.#folder)
    const files = await Promise.all(names.map(async (name) => ({ name, ...(await factsOf(join(this.#folder, name))) })))
    files.sort((a, b) => b.sinceMs - a.sinceMs)
    const bytesMax = this.#capBytes() * PART_OF_CAP
    let bytes = 0
    for (const [place, file] of files.entries()) {
      bytes += file.sizeBytes
      if (place >= FILES_MAX || bytes > bytesMax) await removeFile(join(this.#folder, file.name))
    }
  }
}

/** `sinceMs`: a rename changes a file's status, not its content. */
async function factsOf(path: string): Promise<{ sizeBytes: number; sinceMs: number }> {
  const { size, ctimeMs } = await stat(path)
  return { sizeBytes: size, sinceMs: ctimeMs }
}
