import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { debianTool } from './tools.ts'

export type Injection = { readonly call: string; readonly error: string; readonly place: number }

/**
 * Makes the `place`-th system call of a kind fail, in each thread of a running process, from now until it is dropped.
 * The process needs UV_THREADPOOL_SIZE=1: strace counts by thread.
 */
export class Strace implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #file: string

  static async attach(pid: number, { call, error, place }: Injection, file: string): Promise<Strace> {
    const inject = `inject=${call}:error=${error}:when=${place}`
    const args = ['-f', '-y', '-p', String(pid), '-e', `trace=${call}`, '-e', inject, '-o', file]
    const child = spawn(debianTool('strace'), args, { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = once(child, 'exit').then(() => 'ended' as const)
    let said = ''
    while (!said.includes('attached')) {
      const next = await Promise.race([once(child.stderr, 'data'), ended])
      if (next === 'ended') throw new Error(`strace could not attach: ${said}`)
      said += String(next[0])
    }
    return new Strace(child, file)
  }

  private constructor(child: ChildProcess, file: string) {
    this.#child = child
    this.#file = file
  }

  /** Lets the process go. @returns each call that it saw, a line */
  async detach(): Promise<readonly string[]> {
    await this[Symbol.asyncDispose]()
    return (await readFile(this.#file, 'utf8')).split('\n').filter((line) => line.includes('('))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGINT')
    await ended
  }
}
