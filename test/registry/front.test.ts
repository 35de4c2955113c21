import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { OciError } from '../../src/base/errors.ts'
import { HIT } from '../../src/cache/facts.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import type { Exchange } from '../../src/registry/exchange.ts'
import { exchangeRaw, Shelf, startFront, until } from './support.ts'

const hex = 'd'.repeat(64)
const BLOB = `/v2/a/blobs/sha256:${hex}`

function shelfWith(): Shelf {
  const shelf = new Shelf()
  shelf.put('docker.io/library/a', '1', MEDIA_TYPE.ociManifest, Buffer.from('{"schemaVersion":2}'))
  return shelf
}

test('fault 66: a request head over 64 KiB is 431, one below is answered; nobody else sees of it', async () => {
  await using house = await startFront({ shelf: shelfWith() })
  const withHead = async (bytes: number): Promise<string> => {
    const start = 'GET /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: '
    return await exchangeRaw(house.port, `${start}${'a'.repeat(bytes - start.length)}\r\n\r\n`)
  }

  expect(await withHead(65_000)).toMatch(/^HTTP\/1\.1 200 /)
  expect(await withHead(66_500)).toMatch(/^HTTP\/1\.1 431 /)
  expect((await fetch(`${house.url}/v2/a/manifests/1`)).status).toBe(200)
})

for (const [what, text, status] of [
  ['two Hosts', 'GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n', 400],
  ['two Hosts that differ in case', 'GET /v2/ HTTP/1.1\r\nHost: a\r\nhOsT: a\r\nConnection: close\r\n\r\n', 400],
  ['an absolute form', 'GET http://ghcr.io/v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 400],
  ['no Host', 'GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
  [
    'length and chunks',
    'POST /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  ['a bare line feed', 'GET /v2/ HTTP/1.1\nHost: a\r\n\r\n', 400],
  ['a line of no HTTP', 'hello\r\n\r\n', 400],
  ['one Host', 'GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 200],
] as const) {
  test(`fault 67: ${what} is ${status}`, async () => {
    await using house = await startFront()

    expect(await exchangeRaw(house.port, text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  })
}

test('fault 57: what a client library would tidy reaches us raw and is refused, on each route', async () => {
  await using house = await startFront({ shelf: shelfWith() })

  for (const name of ['a/../b', 'a/%2e%2e/b', 'a//b', 'a%2Fb', 'a%00', 'a%0d%0aX:y', 'a\\b', '..\\a']) {
    for (const end of [
      'manifests/1',
      `blobs/sha256:${hex}`,
      'tags/list',
      `referrers/sha256:${hex}`,
      'blobs/uploads/',
    ]) {
      const answer = await exchangeRaw(
        house.port,
        `GET /v2/${name}/${end} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      )
      expect(answer).toMatch(/^HTTP\/1\.1 400 /)
      expect(answer).toContain('NAME_INVALID')
    }
  }
  expect(house.shelf.asked).toEqual([])
})

test('fault 24: a slow head and a silent socket are closed at the limit of heads', async () => {
  await using house = await startFront({ limits: { headMs: 100, checkEveryMs: 50 } })

  const slow = exchangeRaw(house.port, 'GET /v2/ HTTP/1.1\r\nHost')
  const silent = exchangeRaw(house.port, '')

  expect(await slow).toMatch(/^HTTP\/1\.1 408 /)
  expect(await silent).toMatch(/^(HTTP\/1\.1 408 |$)/)
})

test('fault 24: a body that never comes ends its connection at the limit of requests', async () => {
  await using house = await startFront({ limits: { headMs: 100, checkEveryMs: 50, requestMs: 300 } })

  const bodiless = await exchangeRaw(house.port, 'POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n')

  expect(bodiless).toMatch(/^HTTP\/1\.1 405 /)
})

test('fault 25: a socket ends after as many requests as it may have', async () => {
  await using house = await startFront({ limits: { requestsPerSocket: 3 } })

  const answers = await exchangeRaw(house.port, 'GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(9))

  expect(answers.match(/HTTP\/1\.1 200 /g)).toHaveLength(3)
  expect(answers.split('HTTP/1.1 ')[3]).toMatch(/Connection: close/)
  expect(house.done).toHaveLength(3)
})

test('a large body that nobody reads ends the connection; a small one is dropped, and it goes on', async () => {
  await using house = await startFront()
  const put = (bytes: number): string => `PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\n\r\n`

  const small = await exchangeRaw(
    house.port,
    `${put(10)}0123456789GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
  )
  const large = await exchangeRaw(house.port, put(10_000_000))

  expect(small.match(/HTTP\/1\.1 [0-9]+/g)).toEqual(['HTTP/1.1 405', 'HTTP/1.1 200'])
  expect(large).toMatch(/^HTTP\/1\.1 405 [\s\S]*Connection: close/)
})

test('a client that waits for 100 Continue is told 405 instead', async () => {
  await using house = await startFront()
  const head = 'PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n'

  expect(await exchangeRaw(house.port, head)).toMatch(/^HTTP\/1\.1 405 /)
})

/** Answers a blob of 1 MiB pieces for as long as its client takes them. */
function flowing(seen: { exchange?: Exchange; taken: number; ended: boolean }) {
  const piece = Buffer.alloc(1024 * 1024, 7)
  return async (exchange: Exchange): Promise<void> => {
    seen.exchange = exchange
    exchange.start(200, ['Content-Length', String(1e12)], HIT)
    while (await exchange.write(piece)) seen.taken += piece.length
    seen.ended = true
  }
}

function ask(port: number, path: string): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined) // a reset is what some of these tests are about
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
  return socket
}

for (const [how, leave] of [
  ['resets', (socket: Socket) => socket.resetAndDestroy()],
  ['closes', (socket: Socket) => socket.destroy()],
] as const) {
  test(`fault 22: a client that stands still and then ${how} ends its write, its signal and its line`, async () => {
    const seen: Parameters<typeof flowing>[0] = { taken: 0, ended: false }
    await using house = await startFront({ answerBlob: flowing(seen) })
    const socket = ask(house.port, BLOB)
    await once(socket, 'data')
    socket.pause()
    const signal = seen.exchange?.signal
    await until(() => seen.exchange?.response.writableNeedDrain === true)

    leave(socket)
    await until(() => seen.ended)

    expect(signal?.aborted).toBe(true)
    await until(() => house.done.length > 0)
    expect(house.done).toMatchObject([{ outcome: 'left', status: 200, route: 'blob', bytes: seen.taken }])
  })
}

test('fault 22: a write that begins after a reset, and before anyone told of it, ends when that is told', async () => {
  const written = Promise.withResolvers<boolean>()
  await using house = await startFront({
    answerBlob: async (exchange) => {
      exchange.start(200, ['Content-Length', '5000'], HIT)
      await exchange.write(Buffer.alloc(1000))
      const { socket } = exchange.request
      socket.prependOnceListener('close', () => void exchange.write(Buffer.alloc(1000)).then(written.resolve))
    },
  })
  const socket = ask(house.port, BLOB)
  await once(socket, 'data')

  socket.resetAndDestroy()

  expect(await written.promise).toBe(false)
})

test('a client that leaves while its answer is looked for aborts the looking, and is no error', async () => {
  let signal: AbortSignal | undefined
  await using house = await startFront({
    answerBlob: (exchange) => {
      signal = exchange.signal
      return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal?.reason)))
    },
  })
  const socket = ask(house.port, BLOB)
  await until(() => signal !== undefined)

  socket.destroy()
  await until(() => house.done.length > 0)

  expect(signal?.aborted).toBe(true)
  expect(house.done).toMatchObject([{ outcome: 'left' }])
  expect(house.told).toEqual([])
})

test('fault 23: a body that is cut ends the connection short of its length, and the line says failed', async () => {
  await using house = await startFront({
    answerBlob: async (exchange) => {
      exchange.start(200, ['Content-Length', '10'], HIT)
      await exchange.write(Buffer.from('12345'))
      exchange.cut(new OciError('upstreamFailed', 'no source', { fault: 'cut' }))
    },
  })

  const answer = await exchangeRaw(house.port, `GET ${BLOB} HTTP/1.1\r\nHost: x\r\n\r\n`)

  expect(answer).toMatch(/12345$/)
  expect(house.done).toMatchObject([{ outcome: 'failed', status: 200, bytes: 5 }])
})

test('what is thrown after the head has gone cuts the body, and never appends an answer', async () => {
  await using house = await startFront({
    answerBlob: async (exchange) => {
      exchange.start(200, ['Content-Length', '10'], HIT)
      await exchange.write(Buffer.from('12345'))
      throw new OciError('upstreamFailed', 'no source')
    },
  })

  const answer = await exchangeRaw(house.port, `GET ${BLOB} HTTP/1.1\r\nHost: x\r\n\r\n`)

  expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1)
  expect(answer).toMatch(/12345$/)
})

test('rubbish that follows a request ends its answer short; nothing is written into the body', async () => {
  let isCut = false
  await using house = await startFront({
    answerBlob: async (exchange) => {
      exchange.start(200, ['Content-Length', '10'], HIT)
      await exchange.write(Buffer.from('12345'))
      await until(() => exchange.hasLeft)
      isCut = !(await exchange.write(Buffer.from('67890')))
    },
  })
  const socket = ask(house.port, BLOB)
  let answer = ''
  socket.on('data', (piece) => {
    answer += piece.toString()
  })
  await until(() => answer.endsWith('12345'))

  socket.write('rubbish\r\n\r\n')
  await once(socket, 'close')
  await until(() => house.done.length > 0)

  expect(answer).toMatch(/12345$/)
  await until(() => isCut)
  expect(house.done).toMatchObject([{ outcome: 'left' }])
})

test('each request ends in exactly one line', async () => {
  await using house = await startFront({ shelf: shelfWith() })

  for (const path of ['/v2/', '/v2/a/manifests/1', '/v2/a/manifests/none', '/v2/%zz/manifests/1', BLOB]) {
    await (await fetch(house.url + path)).arrayBuffer()
  }

  expect(house.done.map(({ route, outcome, status }) => `${route} ${outcome} ${status}`)).toEqual([
    'ping hit 200',
    'manifest hit 200',
    'manifest refused 404',
    'other refused 400',
    'blob refused 404',
  ])
  expect(house.done[1]).toMatchObject({
    method: 'GET',
    path: '/v2/a/manifests/1',
    upstream: 'docker.io',
    repository: 'library/a',
    digest: expect.stringMatching(/^sha256:/),
    bytes: 19,
    from: '127.0.0.1',
  })
})

test('fault 84: a drain closes silent and idle sockets at once, lets a download end, takes no one new', async () => {
  let end = (): void => undefined
  const house = await startFront({
    answerBlob: async (exchange) => {
      exchange.start(200, ['Content-Length', '10'], HIT)
      await exchange.write(Buffer.from('12345'))
      await new Promise<void>((resolve) => {
        end = resolve
      })
      await exchange.write(Buffer.from('67890'))
      exchange.end()
    },
  })
  const silent = connect(house.port, '127.0.0.1')
  const idle = connect(house.port, '127.0.0.1')
  idle.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(idle, 'data')
  const loading = ask(house.port, BLOB)
  let body = ''
  loading.on('data', (piece) => {
    body += piece.toString()
  })
  await until(() => body.endsWith('12345'))

  const drained = house.front.drain()
  await Promise.all([once(silent.resume(), 'close'), once(idle.resume(), 'close')])
  await expect(fetch(house.url)).rejects.toThrow()
  end()
  await once(loading, 'close')
  await drained

  expect(body).toMatch(/1234567890$/)
})

test('fault 84: an answer that begins during a drain says Connection: close', async () => {
  let waiting: Exchange | undefined
  const { promise: answering, resolve: answer } = Promise.withResolvers<void>()
  const house = await startFront({
    answerBlob: async (exchange) => {
      waiting = exchange
      await answering
      exchange.send(200, ['Content-Length', '2'], Buffer.from('ok'), HIT)
    },
  })
  const answered = exchangeRaw(house.port, `GET ${BLOB} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await until(() => waiting !== undefined)

  const drained = house.front.drain()
  answer()

  expect(await answered).toMatch(/Connection: close[\s\S]*ok$/)
  await drained
})

test('fault 84: a client that takes nothing is cut when the drain has waited long enough', async () => {
  const seen: Parameters<typeof flowing>[0] = { taken: 0, ended: false }
  const house = await startFront({ answerBlob: flowing(seen), limits: { drainMs: 50 } })
  const socket = ask(house.port, BLOB)
  await once(socket, 'data')
  socket.pause()

  await house.front.drain()

  await until(() => seen.ended)
  expect(house.done).toMatchObject([{ outcome: 'left' }])
})

test('a port that is taken is told where the listener is opened', async () => {
  await using house = await startFront()
  const { port } = house.front.server.address() as AddressInfo

  await expect(startFront().then(({ front }) => front.listen({ host: '127.0.0.1', port }))).rejects.toThrow()
})
