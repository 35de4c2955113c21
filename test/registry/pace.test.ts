import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { MIB } from '../../src/base/units.ts'
import { HIT } from '../../src/cache/facts.ts'
import type { Exchange } from '../../src/registry/exchange.ts'
import { Buffers, walk } from '../../src/store/reader.ts'
import { seededBytes } from '../support/images.ts'
import { startFront, until } from './support.ts'

/** More than all socket buffers between the two hold, so that a client who stands still stops the writer. */
const CONTENT = seededBytes(3, 64 * MIB)

const bytes = {
  read: async (into: Buffer, offset: number, end: number) =>
    CONTENT.copy(into, 0, offset, Math.min(end, offset + into.length)),
}

test('fault 48: no buffer is used again before what it held has left, however long the client stands still', async () => {
  let exchange: Exchange | undefined
  await using house = await startFront({
    answerBlob: async (begun) => {
      exchange = begun
      begun.start(200, ['Content-Length', String(CONTENT.length)], HIT)
      await walk(bytes, { start: 0, end: CONTENT.length }, begun, new Buffers(256 * MIB))
      begun.end()
    },
  })
  const socket = connect(house.port, '127.0.0.1')
  socket.write(`GET /v2/a/blobs/sha256:${'e'.repeat(64)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
  await until(() => exchange?.response.writableNeedDrain === true)

  const came: Buffer[] = []
  socket.on('data', (piece: Buffer) => came.push(piece))
  await once(socket, 'close')
  const body = Buffer.concat(came).subarray(-CONTENT.length)

  expect(hashOf(body)).toBe(hashOf(CONTENT))
})

const hashOf = (content: Buffer): string => createHash('sha256').update(content).digest('hex')
