import { availableParallelism } from 'node:os'
import ipaddr from 'ipaddr.js'
import type { Clock } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'

/**
 * A check takes a core for 60 ms, and one of the four threads by which disks are read: whatever comes, a core is left
 * for all else, and two threads.
 */
const AT_ONCE = Math.max(1, Math.min(2, availableParallelism() - 1))
const WAITING_MAX = 512
/** Of one network: it can't fill all places. */
const WAITING_OF_ONE_MAX = 64
const WAIT_MS_MAX = 10_000

type Job = { readonly sinceMs: number; readonly start: () => void; readonly refuse: (error: OciError) => void }

/**
 * Checks that cost: a few at a time, and those who wait take turns by the network they come from. A flood of guesses
 * from one place thus delays another's by one check, and is itself refused once its places are taken.
 */
export class CheckQueue {
  readonly #clock: Clock
  readonly #atOnce: number
  /** By network, whose turn it is first. None is empty. */
  readonly #waiting = new Map<string, Job[]>()
  #count = 0
  #running = 0

  constructor(clock: Clock, atOnce = AT_ONCE) {
    this.#clock = clock
    this.#atOnce = atOnce
  }

  /**
   * @param address of the client
   * @throws {OciError} overloaded: too many wait, or this one has waited for 10 s
   */
  async run<T>(address: string, check: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#atOnce) await this.#wait(networkOf(address))
    else this.#running += 1
    try {
      return await check()
    } finally {
      this.#next()
    }
  }

  #wait(network: string): Promise<void> {
    const jobs = this.#waiting.get(network) ?? []
    if (this.#count >= WAITING_MAX || jobs.length >= WAITING_OF_ONE_MAX) throw busy()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    jobs.push({ sinceMs: this.#clock.monotonicMs(), start: resolve, refuse: reject })
    this.#waiting.set(network, jobs)
    this.#count += 1
    return promise
  }

  /** One has ended: its place is the next one's. */
  #next(): void {
    for (let job = this.#take(); job; job = this.#take()) {
      if (this.#clock.monotonicMs() - job.sinceMs <= WAIT_MS_MAX) {
        job.start()
        return
      }
      job.refuse(busy())
    }
    this.#running -= 1
  }

  /** The first of the network whose turn it is, which then goes to the end. */
  #take(): Job | undefined {
    const [turn] = this.#waiting
    if (!turn) return undefined
    const [network, jobs] = turn
    const job = jobs.shift()
    this.#count -= 1
    this.#waiting.delete(network)
    if (jobs.length > 0) this.#waiting.set(network, jobs)
    return job
  }
}

const busy = (): OciError => new OciError('overloaded', 'too many passwords wait to be checked: try again')

/** An IPv4 address; of IPv6 the /64, of which one machine has all addresses. */
export function networkOf(address: string): string {
  if (!ipaddr.isValid(address)) return ''
  const parsed = ipaddr.process(address)
  return parsed instanceof ipaddr.IPv6 ? parsed.parts.slice(0, 4).join(':') : parsed.toString()
}
