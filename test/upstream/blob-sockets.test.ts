import { once } from 'node:events'
import { buildConnector } from 'undici'
import { expect, test, vi } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { MIB } from '../../src/base/units.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { BlobAnswer } from '../../src/upstream/blob-socket.ts'
import { BlobSockets } from '../../src/upstream/blob-sockets.ts'
import { seededBytes } from '../support/images.ts'
import { rawServer } from '../support/raw-server.ts'
import { startUpstream } from '../support/upstream.ts'
import { bytesOf, never, openBlob, path, upstreamAt } from './support.ts'

const plainly = buildConnector({ allowH2: false })
const BLOB = seededBytes(3, 5 * MIB + 17)
const DIGEST = digestOf(BLOB)

/** A server that answers each request by hand; `answer` is given how many came before it on all connections. */
const byHand = (answer: (write: (text: string | Buffer) => void, count: number, end: () => void) => void) => {
  let count = 0
  return rawServer((socket) => {
    socket.on('data', (data) => {
      for (const _ of data.toString('latin1').matchAll(/\r\n\r\n/g)) {
        answer(
          (text) => socket.write(text),
          count++,
          () => socket.end(),
        )
      }
    })
  })
}

const head = (bytes: number, more = '') => `HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n${more}\r\n`

test('blobs one after another share a connection, and twenty-five at once share twenty-four', async () => {
  await using fake = await startUpstream()
  await using upstream = upstreamAt(fake.origin)
  fake.addBlob(BLOB)
  const pull = async () => expect((await bytesOf(await openBlob(upstream, DIGEST))).equals(BLOB)).toBe(true)

  await pull()
  await pull()
  const oneAfterAnother = fake.connections
  await Promise.all(Array.from({ length: 25 }, pull))

  expect(oneAfterAnother).toBe(1)
  expect(fake.connections).toBe(24)
})

test('a head in small pieces, after informational ones, is read; what comes with it is the body’s first', async () => {
  await using server = await byHand((write) => {
    const all = Buffer.from(
      `HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${head(10, `X: ${'y'.repeat(40_000)}\r\n`)}0123456789`,
    )
    for (let at = 0; at < all.length; at += 1000) write(all.subarray(at, at + 1000))
  })
  await using upstream = upstreamAt(`http://127.0.0.1:${server.port}`)

  expect((await bytesOf(await openBlob(upstream, DIGEST))).toString()).toBe('0123456789')
})

test('fault 3: a forged answer behind a body costs its connection and is never the next answer', async () => {
  const forged = `${head(4)}evil`
  await using server = await byHand((write, count) => write(count === 0 ? `${head(4)}good${forged}` : `${head(4)}next`))
  await using upstream = upstreamAt(`http://127.0.0.1:${server.port}`)

  const first = await bytesOf(await openBlob(upstream, DIGEST))
  const second = await bytesOf(await openBlob(upstream, DIGEST))

  expect([first.toString(), second.toString()]).toEqual(['good', 'next'])
  expect(server.accepted()).toBe(2)
})

test('fault 17: a connection that died while it was idle is replaced at once, and its answer is whole', async () => {
  const ended = vi.fn()
  await using server = await rawServer((socket, count) => {
    socket.on('data', () => {
      if (count === 1 && ended.mock.calls.length > 0) return void socket.resetAndDestroy()
      ended()
      socket.write(`${head(4)}good`)
    })
  })
  await using upstream = upstreamAt(`http://127.0.0.1:${server.port}`)

  const got = [await bytesOf(await openBlob(upstream, DIGEST)), await bytesOf(await openBlob(upstream, DIGEST))]

  expect(got.map(String)).toEqual(['good', 'good'])
  expect(server.accepted()).toBe(2)
})

for (const told of ['Connection: close', 'Keep-Alive: timeout=1']) {
  test(`a connection of which upstream says ${told} is given up in time, and not asked on again`, async () => {
    const closed: Promise<unknown>[] = []
    await using server = await rawServer((socket) => {
      closed.push(once(socket, 'close'))
      socket.on('data', () => socket.write(`${head(4, `${told}\r\n`)}good`))
    })
    await using upstream = upstreamAt(`http://127.0.0.1:${server.port}`)

    expect((await bytesOf(await openBlob(upstream, DIGEST))).toString()).toBe('good')
    await closed[0]
    expect((await bytesOf(await openBlob(upstream, DIGEST))).toString()).toBe('good')

    expect(server.accepted()).toBe(2)
  })
}

test('a reader who stops holds upstream back: no more than the ring comes', async () => {
  await using fake = await startUpstream()
  const large = seededBytes(4, 64 * MIB)
  const digest = fake.addBlob(large)
  const onBytes = vi.fn()
  await using counted = upstreamAt(fake.origin, { parts: { onBytes } })
  const told = await openBlob(counted, digest)
  if (told.at !== 'found') throw new Error(told.at)
  const pieces = told.pieces[Symbol.asyncIterator]()
  await pieces.next()

  await new Promise((resolve) => setTimeout(resolve, 300))
  const came = onBytes.mock.calls.reduce((sum, [bytes]) => sum + bytes, 0)
  let rest = 0
  for (let next = await pieces.next(); !next.done; next = await pieces.next()) rest += next.value.length

  expect(came).toBeLessThanOrEqual(3 * MIB)
  expect(rest).toBeGreaterThan(60 * MIB)
})

test('a header that would end its line is refused before it is sent', async () => {
  await using fake = await startUpstream()
  const sockets = new BlobSockets({ connectionsMax: 1, clock: systemOutside.clock, connectorOf: () => plainly })
  const answer = new BlobAnswer({ onSent: () => undefined, onOver: () => undefined, onBytes: () => undefined })

  sockets.send({ url: new URL(`${fake.origin}/v2/`), headers: { authorization: 'a\r\nx-evil: 1' }, answer }, false)

  await expect(answer.head).rejects.toThrow('Invalid character')
  expect(fake.requests).toEqual([])
  sockets.close()
})

test('an abort while it waits, or while it reads, frees its place', async () => {
  await using fake = await startUpstream()
  await using upstream = upstreamAt(fake.origin)
  fake.addBlob(BLOB)
  fake.behave({ match: /blobs/, times: 24, act: { hang: true } })
  const aborter = new AbortController()
  const [endpoint] = upstream.endpoints
  const hung = Array.from({ length: 30 }, () => endpoint?.openBlob(path, DIGEST, { start: 0 }, aborter.signal))
  await vi.waitFor(() => expect(fake.requests).toHaveLength(24))

  aborter.abort(new Error('left'))
  await Promise.allSettled(hung)
  const after = await endpoint?.openBlob(path, DIGEST, { start: 0 }, never)

  expect(after && (await bytesOf(after)).equals(BLOB)).toBe(true)
})
