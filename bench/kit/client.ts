/*
 * The download client: a process of its own that asks, compares what arrives with the blob's pattern and discards it.
 *
 * Raw sockets with one reused buffer, since node:http costs several times more than the servers it would measure.
 * Driven by `download` in downloads.ts, one job a message.
 */
import { connect, type Socket } from 'node:net'
import { KIB, patternOf } from './images.ts'

const SILENCE_MS_MAX = 60_000
const HEAD_BYTES_MAX = 64 * KIB

/** One for all: each read is looked at and done with before the next one begins. */
const BUFFER = Buffer.allocUnsafe(256 * KIB)

/** One request: `bytes` from offset `from` are read, then the connection is closed. */
export type Ask = { readonly from: number; readonly bytes: number; readonly range?: string }
export type Job = { readonly port: number; readonly path: string; readonly seed: string; readonly asks: readonly Ask[] }
type Told = {
  readonly status: number
  /** Whether all bytes asked for came, and each was the right one; with a range, whether it was answered as one. */
  readonly isRight: boolean
  readonly bytes: number
  /** Milliseconds from dialling to the first byte of the body, and to the last. */
  readonly firstMs: number
  readonly endMs: number
}
export type Report = { readonly told: readonly Told[]; readonly wallMs: number }

class Download {
  readonly #ask: Ask
  readonly #twice: Buffer
  readonly #startedMs = performance.now()
  #head: string | undefined = ''
  #status = 0
  #bytes = 0
  #firstMs = Number.NaN
  #isRight = true

  constructor(ask: Ask, twice: Buffer) {
    this.#ask = ask
    this.#twice = twice
  }

  run(job: Job): Promise<Told> {
    return new Promise((resolve) => {
      const onread = { buffer: BUFFER, callback: (length: number) => this.#take(BUFFER.subarray(0, length), socket) }
      const socket: Socket = connect({ port: job.port, host: '127.0.0.1', onread } as never)
      const range = this.#ask.range === undefined ? '' : `Range: ${this.#ask.range}\r\n`
      socket.write(`GET ${job.path} HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n${range}Connection: close\r\n\r\n`)
      socket.setTimeout(SILENCE_MS_MAX, () => socket.destroy())
      socket.on('error', () => socket.destroy()) // what is missing then makes the answer a wrong one
      socket.on('close', () => resolve(this.#told()))
    })
  }

  #take(piece: Buffer, socket: Socket): boolean {
    const body = this.#head === undefined ? piece : this.#takeHead(piece, socket)
    if (body.length === 0) return true
    if (this.#bytes === 0) this.#firstMs = performance.now() - this.#startedMs
    const wanted = body.subarray(0, this.#ask.bytes - this.#bytes)
    const patternBytes = this.#twice.length / 2
    for (let at = 0; at < wanted.length; ) {
      const start = (this.#ask.from + this.#bytes + at) % patternBytes
      const length = Math.min(wanted.length - at, patternBytes)
      if (this.#twice.compare(wanted, at, at + length, start, start + length) !== 0) this.#isRight = false
      at += length
    }
    this.#bytes += wanted.length
    if (this.#bytes === this.#ask.bytes) socket.destroy()
    return true
  }

  /** @returns what of the piece is body already */
  #takeHead(piece: Buffer, socket: Socket): Buffer {
    const before = this.#head?.length ?? 0
    const head = `${this.#head}${piece.toString('latin1')}`
    const end = head.indexOf('\r\n\r\n')
    this.#head = head
    if (end < 0) {
      if (head.length > HEAD_BYTES_MAX) socket.destroy()
      return Buffer.alloc(0)
    }
    this.#status = Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(head)?.[1] ?? 0)
    this.#head = undefined
    const wanted = this.#ask.range === undefined ? 200 : 206
    const isPlain = !/^transfer-encoding:/im.test(head.slice(0, end))
    if (this.#status === wanted && isPlain) return piece.subarray(end + 4 - before)
    socket.destroy()
    return Buffer.alloc(0)
  }

  #told(): Told {
    const isWhole = this.#bytes === this.#ask.bytes
    const endMs = performance.now() - this.#startedMs
    return {
      status: this.#status,
      isRight: this.#isRight && isWhole,
      bytes: this.#bytes,
      firstMs: this.#firstMs,
      endMs,
    }
  }
}

async function work(job: Job): Promise<Report> {
  const pattern = patternOf(job.seed)
  const twice = Buffer.concat([pattern, pattern])
  const startedMs = performance.now()
  const told = await Promise.all(job.asks.map((ask) => new Download(ask, twice).run(job)))
  return { told, wallMs: performance.now() - startedMs }
}

process.on('message', (job: Job) => {
  void work(job).then((report) => process.send?.(report))
})
