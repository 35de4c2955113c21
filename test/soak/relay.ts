import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

type Pair = { readonly near: Socket; readonly far: Socket; leftBytes: number }

/** A TCP relay on loopback that cuts, stalls and refuses on demand (faults.md, tool N). */
export class Relay implements AsyncDisposable {
  readonly #pairs = new Set<Pair>()
  readonly #server = createServer((near) => this.#accept(near))
  #targetPort = 0
  #isRefusing = false
  #isStalled = false
  #cuts: number[] = []

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get openConnections(): number {
    return this.#pairs.size
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  leadTo(port: number): void {
    this.#targetPort = port
  }

  /** Ends every connection: by RST or by FIN, in the middle of whatever it carries. */
  cutAll(isReset: boolean): void {
    for (const pair of this.#pairs) cut(pair, isReset)
  }

  /** The next connection is cut once it has carried so many bytes to the one who asked. */
  cutNextAfter(bytes: number): void {
    this.#cuts.push(bytes)
  }

  set isRefusing(value: boolean) {
    this.#isRefusing = value
  }

  set isStalled(value: boolean) {
    this.#isStalled = value
    for (const { far } of this.#pairs) {
      if (value) far.pause()
      else far.resume()
    }
  }

  heal(): void {
    this.isStalled = false
    this.#isRefusing = false
    this.#cuts = []
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.cutAll(true)
  }

  #accept(near: Socket): void {
    near.on('error', () => {}) // either side may reset whenever it likes
    if (this.#isRefusing) return void near.resetAndDestroy()
    const far = connect(this.#targetPort, '127.0.0.1')
    const pair: Pair = { near, far, leftBytes: this.#cuts.shift() ?? Number.POSITIVE_INFINITY }
    this.#pairs.add(pair)
    far.on('error', () => near.resetAndDestroy())
    for (const socket of [near, far]) {
      socket.on('close', () => {
        this.#pairs.delete(pair)
        near.destroySoon()
        far.destroySoon()
      })
    }
    near.pipe(far)
    far.on('data', (piece) => this.#carry(pair, piece))
    far.on('end', () => near.end())
    if (this.#isStalled) far.pause()
  }

  #carry(pair: Pair, piece: Buffer): void {
    const part = piece.subarray(0, pair.leftBytes)
    pair.leftBytes -= part.length
    if (!pair.near.write(part)) {
      pair.far.pause()
      pair.near.once('drain', () => {
        if (!this.#isStalled) pair.far.resume()
      })
    }
    if (pair.leftBytes === 0) pair.near.destroySoon()
  }
}

function cut({ near, far }: Pair, isReset: boolean): void {
  if (isReset) near.resetAndDestroy()
  else near.destroy()
  far.destroy()
}
