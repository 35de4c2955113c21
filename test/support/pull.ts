import { connect, type Socket } from 'node:net'
import type { House } from './house.ts'

/** A client on a bare socket, who can read a little, stop, or leave in the middle of an answer. */
export async function rawGet(house: House, path: string, headers: readonly string[] = []): Promise<RawClient> {
  const { hostname, port } = new URL(house.origin)
  const socket = connect(Number(port), hostname)
  const client = new RawClient(socket)
  socket.write([`GET ${path} HTTP/1.1`, 'Host: here', ...headers, '', ''].join('\r\n'))
  return client
}

export class RawClient {
  readonly socket: Socket
  readonly ended: Promise<void>
  readonly #got: Buffer[] = []
  #bytes = 0
  #wanted: { readonly bytes: number; readonly resolve: () => void } | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (piece: Buffer) => {
      this.#got.push(piece)
      this.#bytes += piece.length
      if (this.#wanted && this.#bytes >= this.#wanted.bytes) this.#wanted.resolve()
    })
    socket.on('error', () => undefined) // a reset is one way for it to end
    this.ended = new Promise((resolve) => socket.once('close', () => resolve()))
  }

  /** Everything that came, head and body. */
  get bytes(): Buffer {
    return Buffer.concat(this.#got)
  }

  get body(): Buffer {
    const bytes = this.bytes
    const headEnd = bytes.indexOf('\r\n\r\n')
    return headEnd < 0 ? Buffer.alloc(0) : bytes.subarray(headEnd + 4)
  }

  /** Resolves when so many bytes have come in all, or the connection has ended. */
  async until(bytes: number): Promise<void> {
    if (this.#bytes >= bytes) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wanted = { bytes, resolve }
    await Promise.race([promise, this.ended])
  }
}
