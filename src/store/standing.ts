import { statSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Files and folders as they were when they were opened. A path may come to lead elsewhere while the process runs: the
 * folder removed, moved, or another volume mounted over it. What is open goes on as if nothing had happened (SQLite
 * too), and nobody would find it again.
 */
export class Standing {
  readonly #paths: readonly string[]
  readonly #opened: readonly (string | undefined)[]
  readonly #device: bigint | undefined

  /** @param paths the first is the folder of the others */
  constructor(...paths: readonly string[]) {
    this.#paths = paths
    this.#opened = paths.map(identityOf)
    this.#device = deviceOf(paths[0] ?? '')
  }

  /** Whether each path leads to what it led to at first. */
  isHere(): boolean {
    return this.#paths.every((path, place) => identityOf(path) === this.#opened[place])
  }

  /** Whether the folder, or where it would be made, lies on the volume that it was on. */
  isSameVolume(): boolean {
    return deviceOf(this.#paths[0] ?? '') === this.#device
  }
}

function identityOf(path: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true })
  return stats && `${stats.dev} ${stats.ino}`
}

/** Of the path, or the nearest above it that is there. */
function deviceOf(path: string): bigint | undefined {
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true })
  if (stats) return stats.dev
  return dirname(path) === path ? undefined : deviceOf(dirname(path))
}
