import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import { startServer } from '../../src/server.ts'
import { ask, open } from '../support/ask.ts'
import { startHouse } from '../support/house.ts'
import type { Act } from '../support/misbehave.ts'
import { startUpstream } from '../support/upstream.ts'

test('an image is pulled once from upstream, and from then on from here', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1')
  await using house = await startHouse(fake)
  const pull = async () => {
    const manifest = await house.getManifest('library/app', 'v1')
    expect(manifest.body).toEqual(image.manifest)
    for (const { digest } of [image.config, ...image.layers]) {
      expect((await house.getBlob('library/app', digest)).body).toEqual(image.bytesOf(digest))
    }
  }

  await pull()
  const asked = fake.requests.length
  await pull()

  expect(fake.requests.length).toBe(asked)
  expect(fake.blobRequests(image.layers[0]?.digest ?? image.digest)).toHaveLength(1)
})

test('it starts while upstream is out, and answers as soon as that is there', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1')
  await fake.stop()
  await using house = await startHouse(fake)

  expect((await house.ask('/v2/')).status).toBe(200)
  expect((await house.getManifest('library/app', image.digest)).status).toBe(502)
  await fake.start()
  expect((await house.getManifest('library/app', image.digest)).status).toBe(200)
})

test('what was held before a restart is held after it, with upstream out', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1')
  await using house = await startHouse(fake)
  await house.getManifest('library/app', 'v1')
  const [layer = image.config] = image.layers
  await house.getBlob('library/app', layer.digest)

  await house.restart()
  await fake.stop()

  expect((await house.getManifest('library/app', 'v1')).body).toEqual(image.manifest)
  expect((await house.getBlob('library/app', layer.digest)).body).toEqual(image.bytesOf(layer.digest))
})

const WRONGS: readonly (readonly [fault: string, RegExp, Act])[] = [
  ['token', /token/, { body: '<html>' }],
  ['redirect', /manifests/, { redirect: 'ftp://storage.test/' }],
  ['header', /manifests/, { headers: { 'docker-content-digest': ['a', 'b'] } }],
  ['address', /manifests/, { redirect: 'http://169.254.169.254/' }],
]
for (const [fault, match, act] of WRONGS) {
  test(`what upstream did wrong is counted by its name: ${fault}`, async () => {
    await using fake = await startUpstream({ auth: { kind: 'bearer' } })
    fake.addImage('library/app', 'v1')
    await using house = await startHouse(fake)
    fake.behave({ match, act })

    expect((await house.getManifest('library/app', 'v1')).status).toBe(502)
    expect(await house.number(`millpond_fill_failures_total{fault="${fault}"}`)).toBe(1)
  })
}

test('each request is one line and is counted, with its outcome, upstream, digest, bytes and time', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1', { layerBytes: 1024 * 1024 })
  const [layer = image.config] = image.layers
  await using house = await startHouse(fake)

  await house.getManifest('library/app', 'v1')
  await house.getBlob('library/app', layer.digest)
  await house.quiet()
  await house.getBlob('library/app', layer.digest)
  expect(await house.number('millpond_requests_total{route="blob",outcome="miss"}')).toBe(1)
  expect(await house.number('millpond_requests_total{route="blob",outcome="hit"}')).toBe(1)
  expect(await house.number('millpond_client_bytes_total{route="blob"}')).toBe(2 * layer.size)
  expect(await house.number('millpond_disk_blobs')).toBe(2)
  expect(await house.number('millpond_upstream_requests_total{upstream="registry.test",status="2xx"}')).toBeGreaterThan(
    1,
  )
  expect(await house.number('millpond_upstream_bytes_total{upstream="registry.test"}')).toBeGreaterThanOrEqual(
    layer.size,
  )
  await house.stop()

  const lines = house.access.map((line) => JSON.parse(line))
  expect(lines.map(({ route, outcome }) => `${route} ${outcome}`)).toEqual(['manifest miss', 'blob miss', 'blob hit'])
  expect(lines[2]).toMatchObject({
    upstream: 'registry.test',
    repository: 'library/app',
    digest: layer.digest,
    bytes: layer.size,
    status: 200,
  })
})

test('fault 41: a fill that its only client had left, and that then fails, is told, and costs nobody else anything', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1', { layers: 2, layerBytes: 2 * 1024 * 1024 })
  const [layer = image.config, other = image.config] = image.layers
  await using house = await startHouse(fake)
  await house.getManifest('library/app', 'v1')
  fake.behave({ match: new RegExp(layer.digest), act: { resetAfter: 512 * 1024, range: 'ignore' } })
  const client = await open(`${house.origin}/v2/library/app/blobs/${layer.digest}`)
  client.on('error', () => undefined) // its own leaving
  client.destroy()
  await house.quiet()

  expect((await house.getBlob('library/app', other.digest)).body).toEqual(image.bytesOf(other.digest))
  fake.behaveWell()
  expect((await house.getBlob('library/app', layer.digest)).body).toEqual(image.bytesOf(layer.digest))
})

test('fault 89: an upstream that is out makes nobody unready', async () => {
  await using fake = await startUpstream()
  await using house = await startHouse(fake)
  await fake.stop()
  await house.getManifest('library/app', 'v1')

  expect((await ask(`${house.adminOrigin}/readyz`)).status).toBe(200)
  expect((await ask(`${house.adminOrigin}/healthz`)).status).toBe(200)
})

test('fault 84: a stop waits for a body under way, not for a silent connection, and takes no one new', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1', { layers: 1, layerBytes: 8 * 1024 * 1024 })
  const [layer = image.config] = image.layers
  await using house = await startHouse(fake)
  await house.getManifest('library/app', 'v1')
  const { listen } = house.server.facts()
  const silent = connect(listen.port, listen.host)
  await once(silent, 'connect')
  const silentEnds = once(silent, 'close')
  silent.resume()
  const body = await open(`${house.origin}/v2/library/app/blobs/${layer.digest}`)

  const stopped = house.stop()
  await silentEnds
  const late = await ask(`http://${listen.host}:${listen.port}/v2/`).catch((error: NodeJS.ErrnoException) => error.code)
  const pieces = await body.toArray()
  await stopped

  expect(late).toBe('ECONNREFUSED')
  expect(Buffer.concat(pieces)).toEqual(image.bytesOf(layer.digest))
})

test('fault 84: while it drains it is not ready, and its health can be asked', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1', { layers: 1, layerBytes: 8 * 1024 * 1024 })
  const [layer = image.config] = image.layers
  await using house = await startHouse(fake)
  await house.getManifest('library/app', 'v1')
  const body = await open(`${house.origin}/v2/library/app/blobs/${layer.digest}`)
  const { adminOrigin } = house

  const stopped = house.stop()
  const ready = await ask(`${adminOrigin}/readyz`)
  const live = await ask(`${adminOrigin}/healthz`)
  await body.toArray()
  await stopped

  expect([ready.status, ready.body.toString()]).toEqual([503, 'draining\n'])
  expect(live.status).toBe(200)
})

test('a folder in use is refused in a sentence, and nothing is left listening', async () => {
  await using fake = await startUpstream()
  await using house = await startHouse(fake)

  await expect(startHouse(fake, { folder: house.folder })).rejects.toThrow(
    new RegExp(
      `^the folder ${house.folder} is in use by process ${process.pid}, since 20.*Z \\(the key is disk.folder\\)$`,
    ),
  )
  expect((await house.ask('/v2/')).status).toBe(200)
})

test('a port in use is refused in a sentence', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  await using fake = await startUpstream()
  await using house = await startHouse(fake)
  const { config } = house
  await house.stop()
  const log = silentLog
  const listen = { host: '127.0.0.1', port }

  await expect(startServer({ ...config, listen }, { log, isPretty: false })).rejects.toThrow(
    `can't listen on 127.0.0.1:${port}: another process listens there (the key is listen)`,
  )
  await expect(startServer({ ...config, admin: { listen } }, { log, isPretty: false })).rejects.toThrow(
    '(the key is admin.listen)',
  )
})
