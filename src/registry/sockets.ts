import type { Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'

/** Of the limit: so many more are taken to be told that they are too many; what comes beyond them is closed unheard. */
const SURPLUS = 1 / 16

type SocketsParts = {
  readonly clock: Clock
  readonly connections: number
  readonly perAddress: number
  /** A connection was closed unheard. */
  readonly onDropped: () => void
}

type Connection = { readonly socket: Socket; readonly isSurplus: boolean }

/** A listener's connections: how many there may be, and which of them are owed an answer (fault 84). */
export class Sockets {
  readonly #server: Server
  readonly #parts: SocketsParts
  /** By peer: under TLS an accepted socket gives way to the one that speaks for it. */
  readonly #open = new Map<string, Connection>()
  /** Of those within the limits. */
  readonly #byAddress = new Map<string, number>()
  readonly #surplus = new WeakSet<Socket>()
  readonly #owed = new Map<ServerResponse, Socket>()
  #taken = 0

  constructor(server: Server, parts: SocketsParts) {
    this.#server = server
    this.#parts = parts
    server.maxConnections = Math.ceil(parts.connections * (1 + SURPLUS))
    server.on('drop', () => parts.onDropped())
    server.on('connection', (socket: Socket) => this.#add(socket))
    server.on('secureConnection', (socket: Socket) => this.#add(socket))
  }

  /** Answers under way that take time. */
  get owed(): ReadonlyMap<ServerResponse, Socket> {
    return this.#owed
  }

  /** Whether it is one too many: it is told so, and closed. */
  isSurplus(socket: Socket): boolean {
    return this.#surplus.has(socket)
  }

  /** An answer takes time: its connection is left alone until it has ended. */
  hold(socket: Socket, response: ServerResponse): void {
    if (response.closed || this.#owed.has(response)) return
    this.#owed.set(response, socket)
    response.once('close', () => this.#owed.delete(response))
  }

  /** Answers that have begun to take time, and have not ended. */
  get answersOwed(): number {
    return this.#owed.size
  }

  owes(socket: Socket): boolean {
    return [...this.#owed.values()].includes(socket)
  }

  /** Closes each connection that is open now, once it is owed nothing: what it writes leaves. */
  closeAll(): void {
    for (const [response, socket] of this.#owed) response.once('close', () => socket.destroySoon())
    const owed = new Set(this.#owed.values())
    for (const { socket } of this.#open.values()) if (!owed.has(socket)) socket.destroySoon()
  }

  /** Resolves when every connection has closed, by itself or at `waitMs`. */
  async drain(waitMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.closeAll()
    const cancel = this.#parts.clock.after(waitMs, () => {
      for (const { socket } of this.#open.values()) socket.destroy()
    })
    await closed
    cancel()
  }

  #add(socket: Socket): void {
    const { remoteAddress: address, remotePort } = socket
    if (address === undefined) return // it has gone already
    const peer = `${address} ${remotePort}`
    const before = this.#open.get(peer)
    const isSurplus = before ? before.isSurplus : !this.#takes(address)
    if (isSurplus) this.#surplus.add(socket)
    this.#open.set(peer, { socket, isSurplus })
    socket.once('close', () => {
      if (this.#open.delete(peer) && !isSurplus) this.#give(address)
    })
  }

  #takes(address: string): boolean {
    const { connections, perAddress } = this.#parts
    const ofAddress = this.#byAddress.get(address) ?? 0
    if (this.#taken >= connections || ofAddress >= perAddress) return false
    this.#taken += 1
    this.#byAddress.set(address, ofAddress + 1)
    return true
  }

  #give(address: string): void {
    this.#taken -= 1
    const ofAddress = (this.#byAddress.get(address) ?? 1) - 1
    if (ofAddress === 0) this.#byAddress.delete(address)
    else this.#byAddress.set(address, ofAddress)
  }
}
