import { execFile } from 'node:child_process'

const OUTPUT_BYTES_MAX = 16 * 1024 * 1024

export type CommandOptions = {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly timeoutMs?: number
}

/**
 * What every client and daemon gets as its environment. The proxy is a closed port: whoever goes past the mirror to
 * a registry elsewhere fails at once, and loopback is never asked for through a proxy.
 */
export function clientEnv(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/nonexistent',
    HTTP_PROXY: 'http://127.0.0.1:9',
    HTTPS_PROXY: 'http://127.0.0.1:9',
    NO_PROXY: '127.0.0.1,localhost',
    ...more,
  }
}

/**
 * Runs a client to its end.
 *
 * @returns what it printed on stdout
 * @throws {Error} with its output, when it ends with anything but 0 or runs longer than `timeoutMs`
 */
export function run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { env = clientEnv(), cwd = '/', timeoutMs = 90_000 } = options
  return new Promise((resolve, reject) => {
    const settings = { env, cwd, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: OUTPUT_BYTES_MAX } as const
    const child = execFile(command, args, settings, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const how = error.killed ? `killed after ${timeoutMs} ms` : `ended with ${error.code ?? error.signal}`
      reject(new Error(`${command} ${args.join(' ')}: ${how}\n${stdout}${stderr}`, { cause: error }))
    })
    child.stdin?.end()
  })
}
