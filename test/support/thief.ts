import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A stranger's server that keeps all it is sent, and answers 200 to everything. */
export class Thief implements AsyncDisposable {
  /** Each request as it came: line, headers, body. */
  readonly loot: string[] = []
  readonly #server: Server
  #origin = ''

  constructor(answer: string) {
    this.#server = createServer((request, response) => {
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
    })
  }

  get origin(): string {
    return this.#origin
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.#origin = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

export async function startThief(answer = '{"token":"stolen"}'): Promise<Thief> {
  const thief = new Thief(answer)
  await thief.start()
  return thief
}
