import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'

/** A relay before upstream that hangs up in the middle of the first GET of each blob. */
export class Cutter implements AsyncDisposable {
  readonly #cut = new Set<string>()
  readonly #sent = new Map<string, number>()
  readonly #upstreamPort: number
  readonly #server = createServer((request, response) => this.#relay(request, response))

  constructor(upstreamPort: number) {
    this.#upstreamPort = upstreamPort
  }

  async start(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : Number.NaN
  }

  /** Whether the path was cut since the last `forget`, and how many body bytes were handed over for it. */
  told(path: string): { readonly wasCut: boolean; readonly bytes: number } {
    return { wasCut: this.#cut.has(path), bytes: this.#sent.get(path) ?? 0 }
  }

  forget(): void {
    this.#cut.clear()
    this.#sent.clear()
  }

  #relay(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '/'
    const headers = { ...request.headers, host: 'upstream' }
    const asked = get({ port: this.#upstreamPort, host: '127.0.0.1', path, method: request.method, headers })
    response.on('close', () => asked.destroy())
    asked.on('error', () => response.destroy())
    asked.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      const isFirst = path.includes('/blobs/') && request.method === 'GET' && !this.#cut.has(path)
      const sizeBytes = Number(answer.headers['content-length'])
      let leftBytes = isFirst ? Math.floor(sizeBytes / 2) : Number.POSITIVE_INFINITY
      if (isFirst) this.#cut.add(path)
      answer.on('data', (piece: Buffer) => {
        const part = piece.subarray(0, leftBytes)
        leftBytes -= part.length
        this.#sent.set(path, (this.#sent.get(path) ?? 0) + part.length)
        const hasRoom = response.write(part, leftBytes === 0 ? () => response.destroy() : undefined)
        if (!hasRoom && leftBytes > 0) {
          answer.pause()
          response.once('drain', () => answer.resume())
        }
        if (leftBytes === 0) answer.destroy()
      })
      answer.on('end', () => response.end())
      answer.on('error', () => response.destroy())
    })
    asked.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}
