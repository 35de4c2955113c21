import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

/** A server by hand, for what no HTTP server would do. */
export async function rawServer(onSocket: (socket: Socket, count: number) => void) {
  const sockets = new Set<Socket>()
  let count = 0
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}) // the other side may reset whenever it likes
    onSocket(socket, ++count)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const dispose = async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
  return { port, accepted: () => count, [Symbol.asyncDispose]: dispose }
}
