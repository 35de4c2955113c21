import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { clientEnv } from './command.ts'
import { debianTool } from './tools.ts'

const LOOK_MS = 50
const STOP_MS = 20_000
const TAIL_LINES = 60

export type DaemonOptions = {
  readonly command: string
  readonly args: readonly string[]
  readonly logFile: string
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly readyMs?: number
  /** Whether it serves; asked again and again until true. May throw meanwhile. */
  isReady(): Promise<boolean>
}

/** A long-running process of ours, in a process group of its own, with its output in a file. */
export class Daemon implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  readonly #logFile: string
  readonly #killAtExit: () => void

  /** @throws {Error} with the end of its log, when it ends or isn't ready within `readyMs` */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options)
    try {
      await daemon.#waitUntilReady(options)
    } catch (error) {
      await daemon[Symbol.asyncDispose]()
      throw error
    }
    return daemon
  }

  private constructor({ command, args, logFile, env = clientEnv(), cwd = '/' }: DaemonOptions) {
    const log = openSync(logFile, 'a')
    // A runner that is killed takes its daemons along: the kernel tells them.
    const child = spawn(debianTool('setpriv'), ['--pdeathsig', 'TERM', command, ...args], {
      env,
      cwd,
      detached: true,
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    this.#child = child
    this.#logFile = logFile
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => resolve()).once('error', () => resolve())
    })
    this.#killAtExit = () => this.#signal('SIGKILL', 'group') // for a runner that ends without its hooks
    process.once('exit', this.#killAtExit)
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  get hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined
  }

  /** The end of what it printed. */
  async tail(): Promise<string> {
    const text = await readFile(this.#logFile, 'utf8')
    return text.split('\n').slice(-TAIL_LINES).join('\n')
  }

  /** Kills it as a power cut would: no hook of its own runs. */
  async kill(): Promise<void> {
    this.#signal('SIGKILL', 'alone')
    await this.#exited
  }

  /** SIGTERM, and SIGKILL for all that is left of its group after `STOP_MS`. */
  async [Symbol.asyncDispose](): Promise<void> {
    process.removeListener('exit', this.#killAtExit)
    this.#signal('SIGTERM', 'alone')
    const timer = new AbortController()
    await Promise.race([this.#exited, sleep(STOP_MS, undefined, { signal: timer.signal }).catch(() => undefined)])
    timer.abort()
    this.#signal('SIGKILL', 'group')
    await this.#exited
  }

  async #waitUntilReady({ command, readyMs = 30_000, isReady }: DaemonOptions): Promise<void> {
    const endMs = performance.now() + readyMs
    let last: unknown
    while (performance.now() < endMs && !this.hasExited) {
      try {
        if (await isReady()) return
      } catch (error) {
        last = error // told below, if it never gets ready
      }
      await sleep(LOOK_MS)
    }
    const how = this.hasExited ? 'ended' : `was not ready after ${readyMs} ms`
    throw new Error(`${command} ${how}\n${await this.tail()}`, { cause: last })
  }

  #signal(signal: NodeJS.Signals, whom: 'alone' | 'group'): void {
    const pid = this.#child.pid
    if (pid === undefined) return
    try {
      process.kill(whom === 'group' ? -pid : pid, signal)
    } catch {
      // it has gone already
    }
  }
}

/** A port of loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('a listening TCP server has a port')
  return address.port
}
