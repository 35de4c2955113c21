import { readFileSync } from 'node:fs'

/** For the disk, the index, upstreams and whatever else is no client. */
const KEPT = 256
const LEAST = 16

/** How many descriptors the process may have open; undefined where the system does not tell (proc(5), limits). */
export function descriptorsMax(): number | undefined {
  try {
    const [, soft] = /^Max open files +([0-9]+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined // another system than Linux
  }
}

/** How many clients may be connected: each has a socket, and may be the only one to have its blob open. */
export function connectionsWithin(wanted: number, max: number | undefined): number {
  return max === undefined ? wanted : Math.min(wanted, Math.max(LEAST, Math.floor((max - KEPT) / 2)))
}
