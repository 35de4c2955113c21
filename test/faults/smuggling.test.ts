import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { exchangeRaw, startFront, until } from '../registry/support.ts'
import { startHouse } from '../support/house.ts'
import { rawServer } from '../support/raw-server.ts'
import { startUpstream } from '../support/upstream.ts'

const SMUGGLED = 'GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: x\r\n\r\n'
/** A body of chunks to one reader, and another request to a reader who goes by a length, or by none. */
const CHUNKED_BODY = `0\r\n\r\n${SMUGGLED}`

/** Header fields of a request whose end two readers might see at two places. */
const FRAMINGS: readonly (readonly [what: string, fields: string, body: string])[] = [
  ['a length and chunks', `Content-Length: ${CHUNKED_BODY.length}\r\nTransfer-Encoding: chunked\r\n`, CHUNKED_BODY],
  ['chunks and a length', `Transfer-Encoding: chunked\r\nContent-Length: 4\r\n`, CHUNKED_BODY],
  ['a coding like chunked', 'Transfer-Encoding: xchunked\r\n', CHUNKED_BODY],
  ['a coding before chunked', 'Transfer-Encoding: gzip, chunked\r\n', CHUNKED_BODY],
  ['a coding after chunked', 'Transfer-Encoding: chunked, identity\r\n', CHUNKED_BODY],
  ['no coding by name', 'Transfer-Encoding: identity\r\n', CHUNKED_BODY],
  ['chunked twice', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', CHUNKED_BODY],
  ['a space before the colon', 'Transfer-Encoding : chunked\r\n', CHUNKED_BODY],
  ['a tab of the other kind', 'Transfer-Encoding:\x0bchunked\r\n', CHUNKED_BODY],
  ['a length with a sign', 'Content-Length: +0\r\n', SMUGGLED],
  ['a negative length', 'Content-Length: -1\r\n', SMUGGLED],
  ['a length in hex', 'Content-Length: 0x0\r\n', SMUGGLED],
  ['two lengths', `Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}\r\n`, SMUGGLED],
  ['one length twice', 'Content-Length: 0\r\nContent-Length: 0\r\n', SMUGGLED],
  ['a list of lengths', `Content-Length: 0, ${SMUGGLED.length}\r\n`, SMUGGLED],
  ['a length beyond all', 'Content-Length: 99999999999999999999999\r\n', SMUGGLED],
  ['a folded line', `X: y\r\n Content-Length: 0\r\n`, SMUGGLED],
  ['a bare line feed', `X: y\nContent-Length: 0\r\n`, SMUGGLED],
  ['a bare carriage return', `X: y\rContent-Length: 0\r\n`, SMUGGLED],
  ['a NUL', 'X: y\0\r\nContent-Length: 0\r\n', SMUGGLED],
  ['two Hosts', 'Host: other\r\nContent-Length: 0\r\n', ''],
]

const PUT = 'PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\n'
const GET = 'GET /v2/ HTTP/1.1\r\nHost: x\r\n'

for (const [what, fields, body] of FRAMINGS) {
  test(`fault 67: ${what} is 400, and what follows is no request`, async () => {
    await using house = await startFront()

    for (const line of [GET, PUT]) {
      const answers = await exchangeRaw(house.port, Buffer.from(`${line}${fields}\r\n${body}`, 'latin1'))

      expect(new Set(answers.match(/HTTP\/1\.1 [0-9]+/g))).toEqual(new Set(['HTTP/1.1 400']))
    }
    expect(house.done.filter(({ path }) => path.includes('smuggled'))).toEqual([])
  })
}

for (const [what, text] of [
  ['HTTP/0.9, bare', 'GET /v2/\r\n\r\n'],
  ['HTTP/0.9, by name', 'GET /v2/ HTTP/0.9\r\n\r\n'],
  ['HTTP/2.0 in text', 'GET /v2/ HTTP/2.0\r\nHost: x\r\n\r\n'],
  ['HTTP/1.2', 'GET /v2/ HTTP/1.2\r\nHost: x\r\n\r\n'],
  ['the beginning of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['chunks in HTTP/1.0', `POST /v2/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKED_BODY}`],
  ['an absolute form', 'GET http://ghcr.io/v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
  ['no target but a star', 'OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
  ['bytes beyond ASCII in the target', 'GET /v2/\x9b31m HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['an escape in the target', 'GET /v2/\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['an escape in a field', 'GET /v2/ HTTP/1.1\r\nHost: x\r\nX: \x1b[31m\r\n\r\n'],
] as const) {
  test(`fault 67: ${what} is 400`, async () => {
    await using house = await startFront()

    expect(await exchangeRaw(house.port, Buffer.from(text, 'latin1'))).toMatch(/^HTTP\/1\.1 400 /)
  })
}

test('fault 67: a body on a GET is its body, and the request after it is the next', async () => {
  await using house = await startFront()
  const next = 'GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'

  const answers = await exchangeRaw(house.port, `${GET}Content-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}${next}`)

  expect(answers.match(/HTTP\/1\.1 [0-9]+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200'])
  expect(house.done.map(({ path }) => path)).toEqual(['/v2/', '/v2/'])
})

/** A house that passes writes on to a server by hand, and all that this one was sent. */
async function passing(answer: string) {
  const seen: string[] = []
  const upstream = await rawServer((socket: Socket) => {
    socket.on('data', (piece) => {
      seen.push(piece.toString('latin1'))
      if (seen.join('').includes('\r\n\r\n')) socket.write(answer)
    })
  })
  const house = await startHouse(
    { origin: `http://127.0.0.1:${upstream.port}` },
    { upstreams: { 'registry.test': { push: true } } },
  )
  const dispose = async () => {
    await house[Symbol.asyncDispose]()
    await upstream[Symbol.asyncDispose]()
  }
  return { house, seen, port: Number(new URL(house.origin).port), [Symbol.asyncDispose]: dispose }
}

const CREATED = 'HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n'

test('fault 67: no write of doubtful framing is passed on, nor what it would smuggle', async () => {
  await using through = await passing(CREATED)

  for (const [, fields, body] of FRAMINGS) {
    await exchangeRaw(through.port, Buffer.from(`${PUT}${fields}\r\n${body}`, 'latin1'))
  }

  expect(through.seen).toEqual([])
})

for (const [what, body] of [
  ['a chunk that ends by a bare line feed', '5\nabcde\r\n0\r\n\r\n'],
  ['a chunk whose size is no number', `0x5\r\nabcde\r\n0\r\n\r\n`],
  ['a chunk beyond all sizes', 'fffffffffffffffff\r\nabcde\r\n0\r\n\r\n'],
  ['a chunk that is longer than it says', `3\r\nabcde\r\n0\r\n\r\n`],
] as const) {
  test(`fault 67: a write with ${what} is never whole upstream`, async () => {
    await using through = await passing(CREATED)

    await exchangeRaw(through.port, `${PUT}Transfer-Encoding: chunked\r\n\r\n${body}${SMUGGLED}`)
    await until(() => through.house.server.fillsUnderWay === 0)

    expect(through.seen.join('')).not.toMatch(/\r\n0\r\n\r\n|smuggled/)
  })
}

test('fault 67: a write that is passed on is one request of our own, by hop-by-hop fields of our own', async () => {
  await using through = await passing(CREATED)
  const fields =
    'Connection: close, X-Gone\r\nX-Gone: 1\r\nKeep-Alive: timeout=9\r\nTE: trailers\r\nUpgrade: h2c\r\nTrailer: X\r\n'

  const answer = await exchangeRaw(through.port, `${PUT}${fields}Content-Type: a/b\r\nContent-Length: 2\r\n\r\n{}`)

  expect(answer).toMatch(/^HTTP\/1\.1 201 /)
  const sent = through.seen.join('')
  expect(sent.match(/ HTTP\/1\.1\r\n/g)).toHaveLength(1)
  expect(sent).toMatch(/^PUT \/v2\/a\/manifests\/1 HTTP\/1\.1\r\n/)
  expect(sent).not.toMatch(/x-gone|keep-alive: timeout|\bte:|upgrade|trailer/i)
})

test('fault 68: an answer of upstream that would split ours ends as its fault', async () => {
  await using through = await passing('HTTP/1.1 201 Created\r\nLocation: /v2/a/x\r\n y\r\nContent-Length: 0\r\n\r\n')

  const answer = await exchangeRaw(through.port, `${PUT}Connection: close\r\nContent-Length: 2\r\n\r\n{}`)

  expect(answer).toMatch(/^HTTP\/1\.1 502 /)
  expect(answer).not.toContain('/v2/a/x')
})

test('fault 70: what a stranger says of proxies in front of us is not believed, nor told on', async () => {
  await using fake = await startUpstream()
  fake.addImage('library/a', 'v1')
  await using house = await startHouse(fake)
  const headers = {
    ...{
      'X-Forwarded-For': '10.0.0.9',
      'X-Forwarded-Host': 'evil.test',
      'X-Forwarded-Proto': 'https',
      Forwarded: 'for=10.0.0.9',
    },
    ...{
      'X-Real-IP': '10.0.0.9',
      'X-Original-URL': '/v2/b/tags/list',
      'X-HTTP-Method-Override': 'DELETE',
      __proto__x: '1',
    },
  }

  const { status, headers: told, body } = await house.ask('/v2/library/a/tags/list?n=1', { headers })

  expect(status).toBe(200)
  expect(JSON.stringify(told) + body).not.toMatch(/evil\.test|https/)
  expect(house.access.join('')).not.toContain('10.0.0.9')
  expect(JSON.stringify(fake.headersSeen)).not.toMatch(/forwarded|real-ip|original|override|10\.0\.0\.9|evil/i)
})

test('fault 70: a header named __proto__, and any other of an object’s own, is harmless', async () => {
  await using house = await startFront()

  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype']) {
    const answer = await exchangeRaw(house.port, `${GET}${name}: x\r\nConnection: close\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
  }
  expect(Object.keys(Object.prototype)).toEqual([])
})
