import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { ROOT } from '../tidy/source.ts'

export type Ended = { readonly status: number | null; readonly out: string; readonly err: string }

/** Millpond as a process of its own, as an operator starts it. Dropped with `await using`, which kills it. */
export class MillpondProcess implements AsyncDisposable {
  readonly child: ChildProcess
  out = ''
  err = ''
  readonly #ended: Promise<number | null>

  constructor(
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
    nodeArgs: readonly string[] = [],
    /** How many files it may have open. */
    filesMax?: number,
  ) {
    const main = join(ROOT, 'src', 'main.ts')
    const { PATH = '', HOME = '' } = process.env
    const command = [process.execPath, ...nodeArgs, main, ...args]
    const limited = filesMax === undefined ? command : ['sh', '-c', `ulimit -n ${filesMax}; exec "$0" "$@"`, ...command]
    const [program = '', ...rest] = limited
    this.child = spawn(program, rest, { env: { PATH, HOME, ...environment } })
    this.child.stdout?.on('data', (text) => {
      this.out += text
    })
    this.child.stderr?.on('data', (text) => {
      this.err += text
    })
    this.#ended = once(this.child, 'close').then(([status]) => status as number | null)
  }

  /** Resolves when it serves. @returns where clients ask, and operators */
  async serving(): Promise<{ readonly origin: string; readonly adminOrigin: string }> {
    const ended = this.#ended.then(() => 'ended' as const)
    for (;;) {
      const line = this.out.split('\n').find((each) => each.includes('"msg":"serving"'))
      if (line) return originsIn(JSON.parse(line))
      const next = this.child.stdout ? once(this.child.stdout, 'data') : ended
      if ((await Promise.race([next, ended])) === 'ended') throw new Error(`it ended before it served: ${this.err}`)
    }
  }

  async ended(): Promise<Ended> {
    return { status: await this.#ended, out: this.out, err: this.err }
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill('SIGKILL')
    await this.#ended
  }
}

type Facts = { readonly listen: Address; readonly admin?: Address }
type Address = { readonly host: string; readonly port: number }

const originsIn = ({ listen, admin }: Facts) => ({
  origin: originOf(listen),
  adminOrigin: admin ? originOf(admin) : '',
})
const originOf = ({ host, port }: Address): string => `http://${host}:${port}`
