import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashSync } from '@node-rs/bcrypt'
import { expect, onTestFinished, test } from 'vitest'
import type { Answered } from '../support/ask.ts'
import { type House, type HouseOptions, startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'

const basicOf = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })
const lineOf = (name: string, password: string) => `${name}:${hashSync(password, 4)}\n`
const ANN = basicOf('ann:right')

async function guarded(text = lineOf('ann', 'right'), options: HouseOptions = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-access-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'htpasswd')
  await writeFile(file, text)
  const upstream = await startUpstream()
  onTestFinished(() => upstream.stop())
  const image = upstream.addImage('a/b', 'v1')
  const house = await startHouse(upstream, { ...options, access: { mode: 'htpasswd', htpasswd: file } })
  onTestFinished(() => house[Symbol.asyncDispose]())
  return { house, upstream, image, file }
}

/** All of an answer but when it was given, and by which connection. */
const essenceOf = ({ status, rawHeaders, body }: Answered) => {
  const fields = rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${rawHeaders[at + 1]}`] : []))
  const passing = /^(?:Date|Connection|Keep-Alive|OCI-Namespace):/
  return [status, ...fields.filter((field) => !passing.test(field)), body.toString()].join('\n')
}

const STRANGERS = [{}, basicOf('ann:wrong'), basicOf('bob:right'), { authorization: 'Bearer x' }, basicOf(':')]

/** What is there, is not, can't be, is forbidden, and what is no API at all. */
const asksOf = (digest: string): readonly (readonly [method: string, path: string])[] => [
  ['GET', '/v2/'],
  ['GET', '/v2'],
  ['GET', '/v2/a/b/manifests/v1'],
  ['GET', '/v2/a/b/manifests/none'],
  ['GET', '/v2/c/d/manifests/v1'],
  ['GET', `/v2/a/b/blobs/${digest}`],
  ['GET', `/v2/a/b/blobs/sha256:${'0'.repeat(64)}`],
  ['GET', '/v2/a/b/blobs/sha256:short'],
  ['GET', '/v2/a/b/tags/list'],
  ['GET', `/v2/a/b/referrers/${digest}`],
  ['GET', '/v2/_catalog'],
  ['GET', '/v2/A%2e%2e/../manifests/v1'],
  ['GET', '/v2/%ff/manifests/v1'],
  ['GET', '/v2/nowhere.test/a/manifests/v1'],
  ['GET', '/v2/a/b/manifests/v1?ns=registry.test'],
  ['GET', '/v2/a/b/manifests/v1?ns=nowhere.test'],
  ['GET', '/'],
  ['GET', '/metrics'],
  ['GET', '/to-0/v2/a/b/manifests/v1'],
  ['PUT', '/v2/a/b/manifests/v1'],
  ['POST', '/v2/a/b/blobs/uploads/'],
  ['DELETE', '/v2/a/b/manifests/v1'],
  ['OPTIONS', '/v2/'],
]

test('fault 81: whoever is not let in gets one answer for all there is and is not, and nothing is asked upstream', async () => {
  const { house, upstream, image } = await guarded()
  await house.getManifest('a/b', 'v1', { headers: ANN })
  upstream.requests.length = 0
  const told = new Set<string>()

  for (const headers of STRANGERS) {
    for (const [method, path] of asksOf(image.config.digest)) {
      told.add(essenceOf(await house.ask(path, { method, headers })))
    }
  }

  expect([...told]).toHaveLength(1)
  const [only = ''] = told
  expect(only.split('\n')[0]).toBe('401')
  expect(only).toContain('\nWWW-Authenticate: Basic realm="millpond"\n')
  expect(only).toContain('{"errors":[{"code":"UNAUTHORIZED","message":"')
  expect(upstream.requests).toEqual([])
})

test('fault 81: a request that is wrong in its head is refused like any other', async () => {
  const { house } = await guarded()
  const { port } = new URL(house.origin)

  const told: string[] = []
  for (const head of ['Host: a\r\nHost: b', 'Host: a', 'Expect: 100-continue\r\nContent-Length: 5\r\nHost: a']) {
    const socket = connect(Number(port), '127.0.0.1')
    let answer = ''
    socket.on('data', (piece) => {
      answer += piece.toString()
    })
    socket.write(`GET /v2/a/b/manifests/v1 HTTP/1.1\r\n${head}\r\nConnection: close\r\n\r\n`)
    await once(socket, 'close')
    told.push(answer.split('\r\n', 1)[0] ?? '')
  }

  expect(told).toEqual(Array(3).fill('HTTP/1.1 401 Unauthorized'))
})

test('a HEAD that is not let in has the same head and no body', async () => {
  const { house } = await guarded()

  const get = await house.getManifest('a/b', 'v1')
  const head = await house.getManifest('a/b', 'v1', { method: 'HEAD' })

  expect(head.body).toHaveLength(0)
  expect(essenceOf(head)).toBe(essenceOf({ ...get, body: Buffer.alloc(0) }))
})

test('fault 79: who is let in is served, and what lets him in never goes upstream', async () => {
  const { house, upstream, image } = await guarded()

  const statuses = [
    await house.ask('/v2/', { headers: ANN }),
    await house.getManifest('a/b', 'v1', { headers: ANN }),
    await house.getBlob('a/b', image.config.digest, { headers: ANN }),
    await house.ask('/v2/a/b/tags/list', { headers: ANN }),
    await house.ask('/v2/a/b/manifests/v1', { headers: ANN, method: 'PUT' }),
  ].map(({ status }) => status)

  expect(statuses).toEqual([200, 200, 200, 200, 405])
  expect(upstream.headersSeen.length).toBeGreaterThan(2)
  expect(upstream.headersSeen.filter(({ authorization }) => authorization !== undefined)).toEqual([])
})

test('fault 81: there is no name and no password that is right by default, and none that looks privileged', async () => {
  const { house } = await guarded()

  for (const who of ['admin:admin', 'root:', 'millpond:millpond', 'ann:', 'ann', ':right', 'oauth2accesstoken:right']) {
    expect((await house.ask('/v2/', { headers: basicOf(who) })).status, who).toBe(401)
  }
})

test('the file is read again when it changes: who is added is let in, who is taken out is not', async () => {
  const { house, file } = await guarded()
  const statusOf = async (who: string) => (await house.ask('/v2/', { headers: basicOf(who) })).status
  expect([await statusOf('ann:right'), await statusOf('bob:new')]).toEqual([200, 401])

  await writeFile(file, lineOf('bob', 'new'))

  await expect.poll(() => statusOf('bob:new'), { timeout: 5_000 }).toBe(200)
  expect(await statusOf('ann:right')).toBe(401)
})

test('a flood of wrong passwords is refused beyond its places; who was let in before notices nothing', async () => {
  const dear = `ann:${hashSync('right', 4)}\nslow:${hashSync('x', 8)}\n`
  const { house } = await guarded(dear)
  await house.ask('/v2/', { headers: ANN })

  const flood = Array.from({ length: 160 }, (_, at) => house.ask('/v2/', { headers: basicOf(`slow:${at}`) }))
  const known = await house.ask('/v2/', { headers: ANN })
  const refused = await Promise.any(
    flood.map(async (each) => ((await each).status === 503 ? await each : Promise.reject(new Error('not this one')))),
  )

  expect(known.status).toBe(200)
  expect(refused.headers['retry-after']).toBe('5')
  expect(refused.body.toString()).toContain('"UNAVAILABLE"')
})

test('fault 81: operators have a listener of their own, on loopback unless it is moved; clients are not asked for there', async () => {
  const { house } = await guarded()
  const { configSchema } = await import('../../src/base/config.ts')

  expect(configSchema.parse({}).admin.listen).toEqual({ host: '127.0.0.1', port: 5001 })
  expect((await house.askAdmin('/readyz')).status).toBe(200)
  expect(await countOf(house, 'other', 'refused')).toBe(0)
  await house.ask('/metrics')
  expect(await countOf(house, 'other', 'refused')).toBe(1)
})

const countOf = (house: House, route: string, outcome: string) =>
  house.number(`millpond_requests_total{route="${route}",outcome="${outcome}"}`)
