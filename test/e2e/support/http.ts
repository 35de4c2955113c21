import type { Server } from 'node:http'

/** Listens on a free port of loopback. @returns its URL, without a slash at the end */
export async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a listening TCP server has a port')
  return `http://127.0.0.1:${address.port}`
}

/** Ends it and every connection to it: from then on it is as if its machine were down. */
export async function close(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = new Promise((resolve) => server.close(resolve))
  server.closeAllConnections()
  await closed
}
