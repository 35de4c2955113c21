import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const TICK_SECONDS = 0.01 // USER_HZ, 100 on every Linux that Node runs on
const START_MS_MAX = 20_000
const STOP_MS_MAX = 15_000

/** A port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('a TCP address was expected')
  return address.port
}

/** One server in a process tree of its own: what it costs is read from /proc. */
export class ServerProcess implements AsyncDisposable {
  readonly port: number
  /** How long the first answer took; 0 until `answering` has ended. */
  startMs = 0
  readonly #startedMs = performance.now()
  readonly #child: ChildProcess
  readonly #logPath: string
  readonly #ended: Promise<unknown>
  readonly #kill = () => this.#child.kill('SIGTERM')

  constructor(port: number, command: readonly [string, ...string[]], options: { logPath: string; cwd?: string }) {
    const [program, ...args] = command
    const log = openSync(options.logPath, 'a')
    this.port = port
    this.#logPath = options.logPath
    const env = { ...process.env, NO_COLOR: '1' }
    this.#child = spawn(program, args, { stdio: ['ignore', log, log], env, ...(options.cwd && { cwd: options.cwd }) })
    this.#ended = once(this.#child, 'exit').catch(() => undefined) // one that cannot be spawned is told by `answering`
    closeSync(log)
    process.once('exit', this.#kill) // a run that is broken off leaves no server behind
  }

  /** Waits for the first HTTP answer on `/v2/`. @throws {Error} with the end of its log when none comes */
  async answering(): Promise<void> {
    while (performance.now() - this.#startedMs < START_MS_MAX) {
      const isUp = await answers(this.port)
      this.startMs = performance.now() - this.#startedMs
      if (isUp) return
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) break
      await sleep(2)
    }
    const log = await readFile(this.#logPath, 'utf8')
    throw new Error(`${this.#child.spawnfile} does not answer:\n${log.slice(-2000)}`)
  }

  /** CPU seconds, user and system, of the whole tree since it began. */
  async cpuSeconds(): Promise<number> {
    let ticks = 0
    for (const pid of await this.#tree()) {
      const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '') // a worker may just have ended
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0)
    }
    return ticks * TICK_SECONDS
  }

  /** CPU seconds once the tree has been at rest for 200 ms: a commit goes on after the client has its last byte. */
  async cpuSecondsAtRest(): Promise<number> {
    let before = await this.cpuSeconds()
    for (let turn = 0; turn < 50; turn++) {
      await sleep(200)
      const now = await this.cpuSeconds()
      if (now - before < 1.5 * TICK_SECONDS) return now
      before = now
    }
    return before
  }

  /** Memory of its own in MB: proportional set size; the kernel's page cache and socket buffers are not in it. */
  memoryMb(): Promise<number> {
    return this.#sum('smaps_rollup', /^Pss: +([0-9]+) kB/m)
  }

  /** The largest resident size so far in MB, over the tree. */
  peakMb(): Promise<number> {
    return this.#sum('status', /^VmHWM:\s+([0-9]+) kB/m)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.pid === undefined) return
    this.#kill()
    const late = new AbortController()
    // the wait rejects when it is taken back, which is then nobody's concern
    await Promise.race([this.#ended, sleep(STOP_MS_MAX, undefined, { signal: late.signal }).catch(() => undefined)])
    late.abort()
    this.#child.kill('SIGKILL')
    await this.#ended
    process.off('exit', this.#kill)
  }

  async #sum(file: string, pattern: RegExp): Promise<number> {
    let kib = 0
    for (const pid of await this.#tree()) {
      const text = await readFile(`/proc/${pid}/${file}`, 'latin1').catch(() => '')
      kib += Number(pattern.exec(text)?.[1] ?? 0)
    }
    return (kib * 1024) / 1e6
  }

  async #tree(): Promise<readonly number[]> {
    const pids = this.#child.pid === undefined ? [] : [this.#child.pid]
    for (const pid of pids) {
      const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'latin1').catch(() => '')
      pids.push(...children.split(' ').filter(Boolean).map(Number)) // grows the list that is being walked
    }
    return pids
  }
}

/** Whether an HTTP answer to `/v2/` begins within a second. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const end = (answered: boolean) => {
      socket.destroy()
      resolve(answered)
    }
    socket.setTimeout(1000, () => end(false))
    socket.once('error', () => end(false))
    socket.once('close', () => resolve(false))
    socket.once('connect', () => socket.write('GET /v2/ HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n'))
    socket.once('data', (bytes) => end(bytes.toString('latin1').startsWith('HTTP/1.1 ')))
  })
}
