import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { Daemon, freePort } from './daemon.ts'
import type { Folder } from './folder.ts'

const CHECKOUT = fileURLToPath(new URL('../../../', import.meta.url))
const LOG_FILE = 'millpond.log'

export type Settings = { readonly upstreams: object } & Partial<Record<'tls' | 'access', object>>

type Place = { readonly port: number; readonly adminPort: number; readonly scheme: 'http' | 'https' }

/** Millpond as its users run it: a process of its own, with a configuration file. */
export class Millpond implements AsyncDisposable {
  readonly port: number
  readonly #folder: Folder
  readonly #adminPort: number
  readonly #scheme: Place['scheme']
  #daemon: Daemon | undefined

  /** @param settings the keys of its configuration besides those of this place */
  static async start(folder: Folder, settings: Settings): Promise<Millpond> {
    const [port, adminPort] = [await freePort(), await freePort()]
    const config = {
      listen: `127.0.0.1:${port}`,
      admin: { listen: `127.0.0.1:${adminPort}` },
      disk: { folder: folder.join('millpond'), cap: '2GiB' },
      wellKnown: false,
      ...settings,
    }
    await writeFile(folder.join('millpond.yaml'), stringify(config))
    const scheme = settings.tls === undefined ? 'http' : 'https'
    const millpond = new Millpond(folder, { port, adminPort, scheme })
    await millpond.#start()
    return millpond
  }

  private constructor(folder: Folder, { port, adminPort, scheme }: Place) {
    this.#folder = folder
    this.port = port
    this.#adminPort = adminPort
    this.#scheme = scheme
  }

  /** `address:port`, as clients want it. */
  get host(): string {
    return `127.0.0.1:${this.port}`
  }

  get url(): string {
    return `${this.#scheme}://${this.host}`
  }

  /** SIGTERM, and a new start on the same disk. */
  async restart(): Promise<void> {
    await this[Symbol.asyncDispose]()
    await this.#start()
  }

  /** Killed as by a power cut, and a new start on the same disk. */
  async killAndStart(): Promise<void> {
    await this.#daemon?.kill()
    await this.restart()
  }

  /** Answers with a range so far, by its log. */
  async countRanges(): Promise<number> {
    const log = await readFile(this.#folder.join(LOG_FILE), 'utf8')
    return log.split('"status":206').length - 1
  }

  /** The end of its log. */
  async tail(): Promise<string> {
    return (await this.#daemon?.tail()) ?? ''
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]()
    this.#daemon = undefined
  }

  async #start(): Promise<void> {
    this.#daemon = await Daemon.start({
      command: join(CHECKOUT, 'node_modules', '.bin', 'node'),
      args: [join(CHECKOUT, 'src', 'main.ts'), 'serve', '--config', this.#folder.join('millpond.yaml')],
      logFile: this.#folder.join(LOG_FILE),
      cwd: this.#folder.path,
      env: { PATH: '/usr/bin:/bin', HOME: this.#folder.path },
      isReady: async () => (await fetch(`http://127.0.0.1:${this.#adminPort}/readyz`)).status === 200,
    })
  }
}
