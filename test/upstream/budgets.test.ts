import { expect, test } from 'vitest'
import { retryAfterMsOf } from '../../src/upstream/rest.ts'
import { seededBytes } from '../support/images.ts'
import type { Act } from '../support/misbehave.ts'
import { startProxy } from '../support/proxy.ts'
import { rawServer } from '../support/raw-server.ts'
import { startUpstream } from '../support/upstream.ts'
import { bytesOf, faultOf, hurried, latest, never, openBlob, path, upstreamAt } from './support.ts'

const MIB = 1024 * 1024
const timeouts = { connect: '300ms', headers: '300ms', idle: '300ms' }

test('fault 9: a TLS handshake that hangs ends as a slow connect', async () => {
  await using silent = await rawServer(() => undefined)
  const config = { timeouts: { ...timeouts, headers: '3s' } }
  await using upstream = upstreamAt(`https://127.0.0.1:${silent.port}`, { config })

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamSlow connect')
})

test('fault 9: a proxy that hangs ends as slow', async () => {
  await using proxy = await startProxy()
  proxy.isHanging = true
  const parts = { proxy: { https: proxy.origin } }
  await using upstream = upstreamAt('https://registry.test', { config: { timeouts }, parts })

  expect(await faultOf(upstream.getManifest(path, latest, never))).toMatch(/^upstreamSlow/)
})

for (const [match, act] of [
  [/manifests|blobs/, { hang: true }],
  [/manifests|blobs/, { stallAfter: 5 }],
] as const satisfies [RegExp, Act][]) {
  test(`fault 9: ${JSON.stringify(act)} ends as slow, and its socket is destroyed`, async () => {
    await using fake = await startUpstream()
    const { layers } = fake.addImage('library/a', 'latest')
    const [layer] = layers
    if (!layer) throw new Error('no layer')
    await using upstream = upstreamAt(fake.origin, { config: { timeouts } })
    fake.behave({ match, act })
    const reading = async () => bytesOf(await openBlob(upstream, layer.digest))

    expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamSlow slow')
    expect(await faultOf(reading())).toBe('upstreamSlow slow')
    await expect.poll(() => fake.openConnections).toBe(0)
  })
}

test('fault 9: a chain of slow steps has one bound for a manifest: connect and headers together', async () => {
  await using fake = await startUpstream({ auth: { kind: 'bearer' } })
  fake.addImage('library/a', 'latest')
  fake.behave({ match: /./, act: { delayMs: 150 } })
  await using upstream = upstreamAt(fake.origin, {
    config: { timeouts: { connect: '50ms', headers: '200ms', idle: '1s' } },
  })

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamSlow slow')
})

test('fault 17: a used socket that was closed meanwhile is replaced at once, and nobody notices', async () => {
  // Each connection answers once, then resets at the second request: as an idle timeout that races with us.
  await using server = await rawServer((socket) => {
    let requests = 0
    socket.on('data', () => {
      if (++requests > 1) return void socket.resetAndDestroy()
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 2\r\n\r\n{}')
    })
  })
  await using upstream = upstreamAt(`http://127.0.0.1:${server.port}`)
  for (let count = 0; count < 30; count++) {
    expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
    await new Promise((resolve) => setImmediate(resolve))
  }
})

test('fault 17: a fresh socket that is reset is an answer: it is not asked again', async () => {
  await using server = await rawServer((socket) => socket.on('data', () => socket.resetAndDestroy()))
  await using upstream = upstreamAt(`http://127.0.0.1:${server.port}`)

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed cut')
  expect(server.accepted()).toBe(1)
})

test('fault 17: a reset after a byte of the answer came is not retried', async () => {
  await using server = await rawServer((socket) => {
    let requests = 0
    socket.on('data', () => {
      if (++requests === 1) return socket.write('HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 2\r\n\r\n{}')
      return socket.write('HTTP/1.1 200 OK\r\ncont', () => setImmediate(() => socket.resetAndDestroy()))
    })
  })
  await using upstream = upstreamAt(`http://127.0.0.1:${server.port}`)
  await upstream.getManifest(path, latest, never)
  await new Promise((resolve) => setTimeout(resolve, 20))

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed cut')
  expect(server.accepted()).toBe(1)
})

for (const [name, act] of [
  ['small', { status: 404 }],
  ['large', { status: 404, body: Buffer.alloc(200_000) }],
  ['endless', { status: 404, bytesPerSecond: 1000, body: Buffer.alloc(200_000) }],
  ['silent', { status: 404, stallAfter: 0 }],
] as const satisfies [string, Act][]) {
  test(`fault 18: a hundred 404s with ${name} bodies that nobody reads leave the pool free`, async () => {
    await using fake = await startUpstream()
    const digest = fake.addBlob(seededBytes(4, 1000))
    fake.behave({ match: /GET .*blobs/, times: 100, act })
    const outside = hurried(20)
    await using upstream = upstreamAt(fake.origin, { outside })

    const told = await Promise.all(Array.from({ length: 100 }, () => openBlob(upstream, digest)))

    expect(told.every(({ at }) => at === 'absent')).toBe(true)
    expect(await bytesOf(await openBlob(upstream, digest))).toHaveLength(1000)
    expect(fake.connections).toBeLessThanOrEqual(name === 'small' ? 24 : 125)
  })
}

test('blobs that take long make no manifest wait, and sockets stay within 32', async () => {
  await using fake = await startUpstream()
  fake.addImage('library/a', 'latest')
  const digest = fake.addBlob(seededBytes(4, MIB))
  fake.behave({ match: /blobs/, act: { bytesPerSecond: 1_000, dripBytes: 100 } })
  await using upstream = upstreamAt(fake.origin)
  const stop = new AbortController()
  const opened = Array.from({ length: 60 }, () =>
    upstream.endpoints[0]?.openBlob(path, digest, { start: 0 }, stop.signal).catch(() => undefined),
  )
  await expect.poll(() => fake.openConnections).toBe(24)

  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  expect(await upstream.headBlob(path, digest, never)).toMatchObject({ at: 'found', sizeBytes: MIB })
  expect(fake.openConnections).toBeLessThanOrEqual(32)
  stop.abort()
  await Promise.all(opened)
})

test('an aborted ask ends at once, wherever it stands', async () => {
  await using fake = await startUpstream({ auth: { kind: 'bearer' } })
  fake.addImage('library/a', 'latest')
  fake.behave({ match: /./, act: { hang: true } })
  await using upstream = upstreamAt(fake.origin)
  const stop = new AbortController()
  const ask = faultOf(upstream.getManifest(path, latest, stop.signal))
  await expect.poll(() => fake.requests).toHaveLength(1)
  stop.abort()

  expect(await ask).toMatch(/^upstreamFailed/)
  expect(await faultOf(upstream.getManifest(path, latest, stop.signal))).toMatch(/^upstreamFailed/)
  expect(fake.requests).toHaveLength(1)
  await expect.poll(() => fake.openConnections).toBe(0)
})

test('fault 15: a 429 is obeyed without another call until its Retry-After is over; blobs go on', async () => {
  const outside = hurried(100)
  await using fake = await startUpstream({ hub: { limit: 1, retryAfter: '20' } })
  const image = fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(fake.origin, { outside })
  await upstream.getManifest(path, latest, never)

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('accountSpent limited')
  expect(upstream.restMs()).toBeGreaterThan(15_000)
  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('accountSpent limited')
  expect(await faultOf(upstream.headManifest(path, latest, never))).toBe('accountSpent limited')
  expect(fake.requestsOf('manifests')).toHaveLength(2)
  expect(await openBlob(upstream, image.config.digest)).toMatchObject({ at: 'found' })
  await outside.clock.sleep(21_000)
  expect(upstream.restMs()).toBe(0)
  expect(await upstream.headManifest(path, latest, never)).toMatchObject({ at: 'found' })
})

test('fault 15: an endpoint that rests leaves the work to the next', async () => {
  await using spent = await startUpstream({ hub: { limit: 0 } })
  await using full = await startUpstream()
  full.addImage('library/a', 'latest')
  await using upstream = upstreamAt([spent.origin, full.origin])

  for (let count = 0; count < 3; count++) {
    expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  }
  expect(spent.requests).toHaveLength(1)
  expect(upstream.restMs()).toBe(0)
})

for (const [text, wantMs, why] of [
  ['7', 7_000, 'seconds'],
  ['0', 1_000, 'a second at least'],
  ['99999', 300_000, 'five minutes at most'],
  ['Thu, 01 Jan 1970 00:01:10 GMT', 60_000, 'a date'],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 1_000, 'a date in the past'],
  ['soon', 5_000, 'nonsense'],
  [undefined, 5_000, 'nothing told'],
] as const) {
  test(`fault 15: Retry-After ${text} means ${wantMs} ms: ${why}`, () => {
    expect(retryAfterMsOf(text, 10_000)).toBe(wantMs)
  })
}

test('what is asked and received is counted', async () => {
  await using fake = await startUpstream()
  const digest = fake.addBlob(seededBytes(4, 3 * MIB))
  const statuses: (number | 'error')[] = []
  let received = 0
  const onBytes = (bytes: number) => {
    received += bytes
  }
  const parts = { onAnswer: (status: number | 'error') => statuses.push(status), onBytes }
  await using upstream = upstreamAt(fake.origin, { parts })
  await bytesOf(await openBlob(upstream, digest))
  await upstream.getManifest(path, latest, never)
  await fake.stop()
  await faultOf(upstream.getManifest(path, latest, never))

  expect(statuses).toEqual([200, 404, 'error'])
  expect(received).toBeGreaterThanOrEqual(3 * MIB)
})
