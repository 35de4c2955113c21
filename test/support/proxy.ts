import { createServer, request as httpRequest, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

/** A forward proxy that resolves every name to 127.0.0.1 and keeps what it was asked for. */
export class ForwardProxy implements AsyncDisposable {
  /** `CONNECT registry.test:443` or `GET http://registry.test/v2/`. */
  readonly requests: string[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Whether CONNECT is answered at all. */
  isHanging = false

  constructor() {
    this.#server = createServer((request, response) => {
      this.requests.push(`${request.method} ${request.url}`)
      const { port, pathname, search } = new URL(request.url ?? '')
      const { method, headers } = request
      const onward = httpRequest({ port, host: '127.0.0.1', path: pathname + search, method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
      })
      onward.on('error', () => response.destroy())
      request.pipe(onward)
    })
    this.#server.on('connection', (socket: Socket) => this.#keep(socket))
    this.#server.on('connect', (request, socket: Socket) => {
      this.requests.push(`CONNECT ${request.url}`)
      if (this.isHanging) return
      const onward = connect(Number(new URL(`http://${request.url}`).port || 443), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
        onward.pipe(socket).pipe(onward)
      })
      this.#keep(onward)
      onward.on('error', () => socket.destroy())
      socket.on('error', () => onward.destroy())
    })
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #keep(socket: Socket) {
    this.#sockets.add(socket)
    socket.on('error', () => {}) // the other side may reset whenever it likes
    socket.on('close', () => this.#sockets.delete(socket))
  }
}

export async function startProxy(): Promise<ForwardProxy> {
  const proxy = new ForwardProxy()
  await proxy.start()
  return proxy
}
