import { resolve } from 'node:path'
import { Admin } from './admin/admin.ts'
import { Readiness } from './admin/readiness.ts'
import { systemOutside } from './base/clock.ts'
import type { Config, Listen } from './base/config.ts'
import { reloadedOf } from './base/config-reload.ts'
import { listenTrouble } from './base/listening.ts'
import type { Log } from './base/log.ts'
import type { Metrics } from './base/metrics.ts'
import { digestOf } from './oci/digest.ts'
import { buildParts, type Given, type Parts } from './parts.ts'
import type { Front } from './registry/front.ts'
import type { Disk } from './store/disk.ts'
import type { Index } from './store/index.ts'

/** What is handed in; a test hands in more of it. */
export type ServerOptions = Omit<Given, 'outside'> & Partial<Pick<Given, 'outside'>>

/** What a server that has begun is. */
export type ServerFacts = {
  readonly listen: Listen
  readonly isTls: boolean
  /** Undefined where it is off. */
  readonly admin: Listen | undefined
  readonly folder: string
  readonly capBytes: number
  readonly usedBytes: number
  /** By name, the default first. */
  readonly upstreams: readonly string[]
  readonly startMs: number
}

/**
 * The composition root: its parts are built from the bottom up and closed in reverse. What was built is one stack:
 * where a part can't be built, those below it are closed. Read next: parts.ts (how they are put together).
 */
export class Server implements AsyncDisposable {
  readonly metrics: Metrics
  readonly disk: Disk
  readonly index: Index
  readonly #parts: Parts
  readonly #stack: AsyncDisposableStack
  readonly #facts: ServerFacts
  readonly #phase: Phase
  #config: Config

  constructor(parts: Parts, stack: AsyncDisposableStack, config: Config, facts: ServerFacts, phase: Phase) {
    this.metrics = parts.metrics
    this.disk = parts.disk
    this.index = parts.index
    this.#parts = parts
    this.#stack = stack
    this.#config = config
    this.#facts = facts
    this.#phase = phase
  }

  facts(): ServerFacts {
    return this.#facts
  }

  get fillsUnderWay(): number {
    return this.#parts.fills.count
  }

  /**
   * Goes on by another configuration, as far as that can be done while it runs; requests under way end by the old one.
   * @returns the keys that have changed and need a restart @throws why not all of it was taken over
   */
  reload(wanted: Config): readonly string[] {
    const { config, waiting } = reloadedOf(this.#config, wanted)
    this.#parts.reload(config)
    this.#config = config
    return waiting
  }

  /**
   * Unready at once; takes no one new; clients have 30 s to end; fills that nobody reads stop, their spools are kept.
   */
  async stop(): Promise<void> {
    this.#phase.now = 'draining'
    this.#parts.fills.drain()
    await this.#stack.disposeAsync()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}

/** Where a server is in its life; readiness asks. */
type Phase = { now: 'starting' | 'serving' | 'draining' }

/**
 * Builds a server and listens. Upstreams are not asked anything: it starts with all of them unreachable.
 *
 * @throws {StartError} a sentence: a port is taken, the folder is in use, a file of the configuration can't be read
 */
export async function startServer(config: Config, options: ServerOptions): Promise<Server> {
  const { outside = systemOutside } = options
  const beganMs = outside.clock.monotonicMs()
  await using stack = new AsyncDisposableStack()
  const phase: Phase = { now: 'starting' }
  const parts = await buildParts(config, { ...options, outside }, stack)
  const admin = await listenAdmin(config, parts, options.log, phase, stack)
  stack.use(parts.front) // closed first: clients end while everything behind them still works
  const listen = await listenFront(config, parts.front)
  phase.now = 'serving'
  const facts: ServerFacts = {
    listen,
    isTls: config.tls !== undefined,
    admin,
    folder: resolve(config.disk.folder),
    capBytes: parts.disk.capBytes,
    usedBytes: parts.disk.usedBytes,
    upstreams: parts.upstreams,
    startMs: outside.clock.monotonicMs() - beganMs,
  }
  return new Server(parts, stack.move(), config, facts, phase)
}

async function listenFront({ listen }: Config, front: Front): Promise<Listen> {
  try {
    const { address, port } = await front.listen(listen)
    return { host: address, port }
  } catch (error) {
    throw listenTrouble('listen', listen, error)
  }
}

async function listenAdmin(config: Config, parts: Parts, log: Log, phase: Phase, stack: AsyncDisposableStack) {
  const { listen } = config.admin
  if (listen === 'off') return undefined
  const { metrics, disk, index } = parts
  const readiness = new Readiness({
    phase: () => phase.now,
    isDiskFailing: () => disk.isFailing,
    askIndex: () => index.findManifest(ANY_DIGEST),
    lagMs: () => metrics.lagMs(),
  })
  try {
    return await stack.use(new Admin({ metrics, readiness, log })).listen(listen)
  } catch (error) {
    throw listenTrouble('admin.listen', listen, error)
  }
}

/** A question that the index can answer at once, whatever it holds. */
const ANY_DIGEST = digestOf(Buffer.alloc(0))
