import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { HIT } from '../../src/cache/facts.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import type { Exchange } from '../../src/registry/exchange.ts'
import { HandClock } from '../cache/hand-clock.ts'
import { exchangeRaw, Shelf, startFront, until } from './support.ts'

const BLOB = `/v2/a/blobs/sha256:${'d'.repeat(64)}`
const PING = 'GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n'
const CLOSED = 'GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'

async function connected(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined) // how it ended is seen by its close
  await once(socket, 'connect')
  return socket
}

/** Asks and waits for the answer's begin; the connection stays. */
async function asked(port: number, text = PING): Promise<Socket> {
  const socket = await connected(port)
  socket.write(text)
  await once(socket, 'data')
  return socket
}

/** Five seconds pass, and clients are looked at. */
async function look(clock: HandClock): Promise<void> {
  const { timers } = clock
  clock.advance(5_000)
  await until(() => clock.timers === timers)
}

test('one connection too many is answered 503, to come again; when another goes there is place', async () => {
  await using house = await startFront({ limits: { connections: 3 } })
  const theirs: Socket[] = []
  house.front.server.on('connection', (socket) => theirs.push(socket))
  const within = await Promise.all([asked(house.port), asked(house.port), asked(house.port)])

  const beyond = await exchangeRaw(house.port, PING)
  within[0]?.destroy()
  await until(() => theirs[0]?.closed === true)
  const later = await exchangeRaw(house.port, CLOSED)

  expect(beyond).toMatch(/^HTTP\/1\.1 503 /)
  expect(beyond).toMatch(/\r\nRetry-After: 5\r\n/)
  expect(beyond).toMatch(/\r\nConnection: close\r\n/)
  expect(beyond).toContain('"code":"UNAVAILABLE"')
  expect(house.refused).toEqual(['tooManyConnections'])
  expect(later).toMatch(/^HTTP\/1\.1 200 /)
  for (const socket of within) socket.destroy()
})

test('of the connections beyond the limit a sixteenth is told so; the rest is closed unheard, and counted', async () => {
  await using house = await startFront({ limits: { connections: 16 } })
  const within = await Promise.all(Array.from({ length: 16 }, () => asked(house.port)))
  const told = await connected(house.port)

  const unheard = await exchangeRaw(house.port, PING)

  expect(unheard).toBe('')
  expect(house.refused).toEqual(['tooManyConnections'])
  for (const socket of [...within, told]) socket.destroy()
})

test('an address has as many connections as it may; off is no limit', async () => {
  await using house = await startFront({ limits: { perAddress: 2 } })
  const within = await Promise.all([asked(house.port), asked(house.port)])

  const beyond = await exchangeRaw(house.port, PING)

  expect(beyond).toMatch(/^HTTP\/1\.1 503 /)
  for (const socket of within) socket.destroy()
})

test('a head of the very limit is answered, one byte more is 431 with a body as the specification wants it', async () => {
  await using house = await startFront({ limits: { headBytes: 8192 } })
  const counted = '/v2/Hostx' + 'Connectionclose' + 'X' // what counts are the target, names and values
  const headOf = (bytes: number) => `${CLOSED.trimEnd()}\r\nX: ${'a'.repeat(bytes - counted.length)}\r\n\r\n`

  const within = await exchangeRaw(house.port, headOf(8192))
  const beyond = await exchangeRaw(house.port, headOf(8193))

  expect(within).toMatch(/^HTTP\/1\.1 200 /)
  expect(beyond).toMatch(/^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/)
  expect(beyond).toMatch(/\r\n\r\n\{"errors":\[\{"code":"UNSUPPORTED","message":"[^"]+"\}\]\}$/)
  expect(house.refused).toEqual(['headTooLarge'])
})

for (const [what, text, status, reason] of [
  ['no HTTP', 'hello\r\n\r\n', '400 Bad Request', 'requestInvalid'],
  ['a head that never ends', 'GET /v2/ HTTP/1.1\r\nHost', '408 Request Timeout', 'clientSlow'],
] as const) {
  test(`fault 24: ${what} is answered ${status} with our error body, and counted`, async () => {
    await using house = await startFront({ limits: { headMs: 100, checkEveryMs: 50 } })

    const answer = await exchangeRaw(house.port, text)

    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status}\r\nDocker-Distribution-API-Version: registry/2.0\r\n`))
    expect(answer).toMatch(/Content-Type: application\/json\r\n[\s\S]*\r\n\r\n\{"errors":\[/)
    expect(house.refused).toEqual([reason])
  })
}

test('a connection is kept as long as configured between two requests, and then closed', async () => {
  await using house = await startFront({ limits: { idleMs: 300 } })
  const socket = await asked(house.port)
  const beganMs = performance.now()

  await once(socket.resume(), 'close')

  expect(performance.now() - beganMs).toBeGreaterThan(250)
  expect(house.refused).toEqual([])
})

test('fault 25: requests that were sent ahead are answered one at a time, in their order', async () => {
  const begun: Exchange[] = []
  const end: (() => void)[] = []
  await using house = await startFront({
    answerBlob: (exchange) => {
      begun.push(exchange)
      return new Promise((resolve) => {
        end.push(() => {
          exchange.send(200, ['Content-Length', '1'], Buffer.from(String(begun.length)), HIT)
          resolve()
        })
      })
    },
  })
  const get = (close = '') => `GET ${BLOB} HTTP/1.1\r\nHost: x\r\n${close}\r\n`
  const answers = exchangeRaw(house.port, get() + get() + get('Connection: close\r\n'))

  for (const turn of [1, 2, 3]) {
    await until(() => begun.length === turn)
    await new Promise((resolve) => setImmediate(resolve))
    expect(begun).toHaveLength(turn)
    end[turn - 1]?.()
  }

  expect((await answers).match(/\r\n\r\n([0-9])/g)?.map((each) => each.trim())).toEqual(['1', '2', '3'])
})

const MANIFEST = 'GET /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n'

function shelfWith(bytes: number): Shelf {
  const shelf = new Shelf()
  shelf.put('docker.io/library/a', '1', MEDIA_TYPE.ociManifest, Buffer.alloc(bytes, ' '))
  return shelf
}

test('fault 25: of 20,000 requests sent ahead 1,000 are answered', async () => {
  await using house = await startFront({ shelf: shelfWith(20) })

  await exchangeRaw(house.port, MANIFEST.repeat(20_000))

  expect(house.done).toHaveLength(1000)
})

test('fault 25: while an answer is under way no more is read than had come with its request', async () => {
  let waiting: Exchange | undefined
  await using house = await startFront({
    limits: { requestsPerSocket: 1_000_000 },
    answerBlob: (exchange) => {
      waiting = exchange
      return new Promise(() => undefined)
    },
  })
  let parsed = 0
  house.front.server.prependListener('request', () => {
    parsed += 1
  })

  const socket = await connected(house.port)
  socket.write(`GET ${BLOB} HTTP/1.1\r\nHost: x\r\n\r\n${MANIFEST.repeat(20_000)}`)
  await until(() => waiting !== undefined)
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve))

  expect(parsed).toBeLessThanOrEqual(65_536 / MANIFEST.length + 1) // what one read of the socket holds
  socket.destroy()
  waiting?.send(200, ['Content-Length', '0'], undefined, HIT)
})

test('fault 22: what is written to a connection that is being ended is let go when it closes', async () => {
  let isTaken: boolean | undefined
  await using house = await startFront({
    answerBlob: async (exchange) => {
      exchange.start(200, ['Content-Length', '10'], HIT)
      await exchange.write(Buffer.from('12345'))
      exchange.request.socket.end()
      isTaken = await exchange.write(Buffer.from('67890'))
    },
  })

  const answer = await exchangeRaw(house.port, `GET ${BLOB} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await until(() => isTaken !== undefined)

  expect(isTaken).toBe(false)
  expect(answer).toMatch(/12345$/)
})

/** Answers with `bytes` as fast as the client takes them. */
function flowing(bytes: number, begun: Exchange[]) {
  return async (exchange: Exchange): Promise<void> => {
    begun.push(exchange)
    exchange.start(200, ['Content-Length', String(bytes)], HIT)
    for (let left = bytes; left > 0; left -= 65_536) if (!(await exchange.write(Buffer.alloc(65_536)))) return
    exchange.end()
  }
}

test('fault 21: a client that stops reading is cut a minute later, one that reads is left alone', async () => {
  const clock = new HandClock()
  const begun: Exchange[] = []
  await using house = await startFront({ clock, answerBlob: flowing(1024 ** 3, begun) })
  const get = `GET ${BLOB} HTTP/1.1\r\nHost: x\r\n\r\n`
  const reading = (await asked(house.port, get)).pause()
  const stopped = (await asked(house.port, get)).pause()
  await until(() => begun.every(({ response }) => response.writableNeedDrain))

  for (let ms = 0; ms < 60_000; ms += 5_000) {
    expect(house.done).toEqual([])
    const before = reading.bytesRead
    reading.resume()
    await until(() => reading.bytesRead > before + 1_000_000)
    reading.pause()
    await look(clock)
  }
  await look(clock)
  await until(() => house.done.length > 0)
  for (let ms = 0; ms < 20_000; ms += 5_000) await look(clock)
  reading.destroy()
  await until(() => house.done.length > 1)

  expect(house.refused).toEqual(['clientSlow'])
  expect(stopped.bytesRead).toBeLessThan(reading.bytesRead)
  expect(house.done).toMatchObject([{ outcome: 'left' }, { outcome: 'left' }])
})

test('fault 21: a client that has taken all there is waits for the rest, however long that takes to come', async () => {
  const clock = new HandClock()
  const rest = Promise.withResolvers<void>()
  const answerBlob = async (exchange: Exchange): Promise<void> => {
    exchange.start(200, ['Content-Length', '10'], HIT)
    await exchange.write(Buffer.alloc(5))
    await rest.promise
    await exchange.write(Buffer.alloc(5))
    exchange.end()
  }
  await using house = await startFront({ clock, answerBlob })
  const client = await asked(house.port, `GET ${BLOB} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await until(() => client.bytesRead > 0)

  for (let ms = 0; ms < 180_000; ms += 5_000) await look(clock)
  rest.resolve()
  await until(() => house.done.length > 0)

  expect(house.refused).toEqual([])
  expect(house.done).toMatchObject([{ status: 200, bytes: 10, outcome: 'hit' }])
  client.destroy()
})

test('fault 21: a client on a thin line is left alone, though the kernel takes nothing more for it in a minute', async () => {
  const clock = new HandClock()
  const begun: Exchange[] = []
  await using house = await startFront({ clock, answerBlob: flowing(1024 ** 3, begun) })
  let readBytes = 0
  const take = (bytes: number): boolean => {
    readBytes += bytes
    return false // no more until it resumes
  }
  const onread = { buffer: Buffer.alloc(16 * 1024), callback: take }
  const socket = connect({ port: house.port, host: '127.0.0.1', onread })
  socket.on('error', () => undefined) // how it ended is seen by its close
  socket.write(`GET ${BLOB} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await until(() => begun.every(({ response }) => response.writableNeedDrain) && readBytes > 0)

  const givenBytes = begun[0]?.response.socket?.bytesWritten
  for (let ms = 0; ms < 180_000; ms += 5_000) {
    await look(clock)
    const before = readBytes
    socket.resume()
    await until(() => readBytes > before)
  }
  const isCut = socket.closed || house.done.length > 0
  const givenBytesThen = begun[0]?.response.socket?.bytesWritten
  socket.destroy()

  expect(isCut).toBe(false)
  expect(givenBytesThen).toBe(givenBytes)
  expect(house.refused).toEqual([])
})

test('fault 21: a client that never reads is cut whatever it asked for: a manifest, a listing, an error', async () => {
  const clock = new HandClock()
  await using house = await startFront({ clock, shelf: shelfWith(4 * 1024 * 1024) })
  const get = 'GET /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\n\r\n'
  const theirs: Socket[] = []
  house.front.server.on('connection', (socket) => theirs.push(socket))
  const socket = (await asked(house.port, get)).pause()
  socket.write(get.repeat(20))
  await until(() => (theirs[0]?.writableLength ?? 0) > 0)

  for (let ms = 0; ms < 70_000; ms += 5_000) await look(clock)
  await until(() => theirs[0]?.closed === true)

  expect(house.refused).toEqual(['clientSlow'])
})
