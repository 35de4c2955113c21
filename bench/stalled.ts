import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { pullManifest } from './kit/bench.ts'
import { downloadWhole, mustBeRight } from './kit/downloads.ts'
import { type Blob, blobPath, type Image } from './kit/images.ts'
import { type Question, Samples } from './kit/question.ts'

const CLIENTS = 200
const SETTLE_MS = 3000

/** What memory do 200 clients hold that ask for a large blob and then stop reading? */
export const stalled: Question = {
  name: 'stalled',
  ask: async (bench) => {
    const image = bench.image('bench/hit')
    const [blob] = image.layers
    const memory = new Samples()
    await using field = await bench.field(['millpond', 'registry', 'nginx', 'copying'])
    for (const [who, { port }] of field) {
      await pullManifest(port, image)
      mustBeRight(await downloadWhole(port, image, blob, 1), `${who}, warming`)
    }
    for (let run = 0; run < bench.runs; run++) {
      for (const [who, server] of field) {
        await sleep(SETTLE_MS)
        const restMb = await server.memoryMb()
        const sockets = await stall(server.port, image, blob)
        await sleep(SETTLE_MS)
        memory.add(who, Math.max(0, (await server.memoryMb()) - restMb))
        mustBeRight(await downloadWhole(server.port, image, blob, 1), `${who}, one who reads beside those who don't`)
        const cut = sockets.filter((socket) => socket.closed)
        if (cut.length > 0) throw new Error(`${who}: ${cut.length} stalled clients were cut within seconds`)
        for (const socket of sockets) socket.destroy()
      }
    }
    const what = '200 stalled clients, MB above rest'
    return [{ what, figures: memory.medians(), ratioTo: 'nginx', target: { atMost: 90 } }]
  },
}

/** Connections that have asked and have an answer begun, which nobody reads on. */
async function stall(port: number, image: Image, blob: Blob): Promise<readonly Socket[]> {
  return Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      const socket = connect(port, '127.0.0.1')
      socket.write(`GET ${blobPath(image, blob)} HTTP/1.1\r\nHost: bench\r\n\r\n`)
      await once(socket, 'readable')
      socket.on('error', () => socket.destroy())
      return socket
    }),
  )
}
