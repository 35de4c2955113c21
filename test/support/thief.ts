import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

export type ThiefOptions = {
  readonly tls?: { readonly key: string; readonly cert: string }
  /** Left out: any that is free. */
  readonly port?: number
}

/** A stranger's server that keeps all it is sent, and answers 200 to everything. */
export class Thief implements AsyncDisposable {
  /** Each request as it came: line, headers, body. */
  readonly loot: string[] = []
  readonly #server: Server
  readonly #options: ThiefOptions
  #origin = ''

  constructor(answer: string, options: ThiefOptions) {
    this.#options = options
    const handle: RequestListener = (request, response) => {
      const lines = [`${request.method} ${request.url}`]
      for (let at = 0; at < request.rawHeaders.length; at += 2) {
        lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`)
      }
      request.on('data', (chunk: Buffer) => lines.push(chunk.toString('latin1')))
      request.on('end', () => {
        this.loot.push(lines.join('\n'))
        response.setHeader('content-type', 'application/json')
        response.end(answer)
      })
    }
    this.#server = options.tls ? createTlsServer(options.tls, handle) : createServer(handle)
  }

  get origin(): string {
    return this.#origin
  }

  async start(): Promise<void> {
    const { port = 0, tls } = this.#options
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, '127.0.0.1', resolve)
    })
    this.#origin = `${tls ? 'https' : 'http'}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

export async function startThief(answer = '{"token":"stolen"}', options: ThiefOptions = {}): Promise<Thief> {
  const thief = new Thief(answer, options)
  await thief.start()
  return thief
}
