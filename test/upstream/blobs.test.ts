import { expect, test } from 'vitest'
import { seededBytes } from '../support/images.ts'
import type { Act } from '../support/misbehave.ts'
import { startUpstream as start } from '../support/upstream.ts'
import { bytesOf, faultOf, hurried, never, openBlob, path, upstreamAt } from './support.ts'

const MIB = 1024 * 1024
const bytes = seededBytes(3, 2 * MIB + 123)

/** A fake upstream with one blob, whose next answer for it is this. */
/** What has no plain length is asked for twice: once by each of the two ways. */
async function misbehaving(act: Act, times = 1) {
  const fake = await start()
  const digest = fake.addBlob(bytes)
  fake.behave({ match: /GET .*blobs/, times, act })
  const upstream = upstreamAt(fake.origin, { config: { timeouts: { connect: '1s', headers: '1s', idle: '300ms' } } })
  const dispose = async () => {
    await upstream[Symbol.asyncDispose]()
    await fake.stop()
  }
  return { fake, digest, upstream, [Symbol.asyncDispose]: dispose }
}

/** What came before the fault, and the fault. */
async function received(told: Awaited<ReturnType<typeof openBlob>>) {
  const pieces: Buffer[] = []
  const read = async () => {
    if (told.at !== 'found') throw new Error(told.at)
    for await (const piece of told.pieces) pieces.push(Buffer.from(piece))
  }
  const fault = await faultOf(read())
  return { fault, came: Buffer.concat(pieces) }
}

for (const [act, fault] of [
  [{ cutAfter: 1_500_000 }, 'upstreamFailed cut'],
  [{ resetAfter: 1_500_000 }, 'upstreamFailed cut'],
  [{ stallAfter: 1_500_000 }, 'upstreamSlow slow'],
  [{ lengthBy: 10 }, 'upstreamFailed cut'],
] as const satisfies [Act, string][]) {
  test(`fault 1: a body with ${JSON.stringify(act)} gives what came, says so, and can be resumed there`, async () => {
    await using house = await misbehaving(act)

    const { fault: seen, came } = await received(await openBlob(house.upstream, house.digest))
    const rest = await openBlob(house.upstream, house.digest, Math.min(came.length, bytes.length - 1))

    expect(seen).toBe(fault)
    expect(bytes.subarray(0, came.length).equals(came)).toBe(true)
    expect((await bytesOf(rest)).equals(bytes.subarray(came.length))).toBe(came.length < bytes.length)
  })
}

test('fault 1: a blob that is cut at every 64 KiB comes whole by resuming, each byte sent once', async () => {
  await using house = await misbehaving({ cutAfter: 64 * 1024 }, 1_000)
  const pieces: Buffer[] = []
  let offset = 0
  let opens = 0
  while (offset < bytes.length && opens++ < 100) {
    const { came } = await received(await openBlob(house.upstream, house.digest, offset))
    pieces.push(came)
    offset += came.length
  }

  expect(Buffer.concat(pieces).equals(bytes)).toBe(true)
  expect(house.fake.bodyBytesSent).toBe(bytes.length)
})

for (const framing of ['chunked', 'close', 'http10'] as const) {
  test(`fault 2: a body without a length (${framing}) tells none, however it ends`, async () => {
    await using house = await misbehaving({ framing, ...(framing === 'http10' && { resetAfter: 1000 }) }, 2)

    const told = await openBlob(house.upstream, house.digest)

    expect(told).toMatchObject({ at: 'found', sizeBytes: undefined })
    const { came } = await received(told)
    expect(bytes.subarray(0, came.length).equals(came)).toBe(true)
  })
}

test('fault 3: what is sent beyond the length is dropped, and is never the next answer', async () => {
  const forged = 'HTTP/1.1 200 OK\r\ncontent-type: text/evil\r\ncontent-length: 4\r\n\r\nevil'
  await using house = await misbehaving({ surplus: forged }, 20)

  for (let count = 0; count < 20; count++) {
    const body = await bytesOf(await openBlob(house.upstream, house.digest))
    const next = await house.upstream.headBlob(path, house.digest, never)

    expect(body.equals(bytes)).toBe(true)
    expect(next).toMatchObject({ at: 'found', contentType: 'application/octet-stream', sizeBytes: bytes.length })
  }
})

for (const [act, start, end, want] of [
  [{ range: 'ignore' }, 100, undefined, 'whole'],
  [{ range: 'shifted' }, 100, undefined, 'upstreamFailed range'],
  [{ range: 'multipart' }, 100, 200, 'upstreamFailed range'],
  [{ range: 'unsatisfiable' }, 100, 200, 'upstreamFailed range'],
  [{ headers: { 'content-range': `bytes 100-299/${bytes.length}` } }, 100, 200, 'upstreamFailed range'],
  [{ headers: { 'content-range': 'bytes 100-199/150' } }, 100, 200, 'upstreamFailed range'],
  [{ headers: { 'content-range': 'bytes 100-199/99999999999999999999' } }, 100, 200, 'upstreamFailed range'],
  [{ headers: { 'content-range': null } }, 100, 200, 'upstreamFailed range'],
  [{ headers: { 'content-range': ['bytes 100-199/9999', 'bytes 100-199/9999'] } }, 100, 200, 'upstreamFailed header'],
  [{ status: 206 }, 0, undefined, 'upstreamFailed range'],
] as const satisfies [Act, number, number | undefined, string][]) {
  test(`fault 6: ${JSON.stringify(act)} to ${start}-${end ?? ''} is ${want}`, async () => {
    await using house = await misbehaving(act)

    if (want === 'whole') {
      const told = await openBlob(house.upstream, house.digest, start, end)
      expect(told).toMatchObject({ start: 0, sizeBytes: bytes.length })
      expect((await bytesOf(told)).equals(bytes)).toBe(true)
    } else {
      expect(await faultOf(openBlob(house.upstream, house.digest, start, end))).toBe(want)
    }
  })
}

test('fault 6: a part may tell no total, or another than before: that is for the cache to compare', async () => {
  await using house = await misbehaving({ range: 'unknownTotal' })
  house.fake.behave({ match: /bytes=200-/, act: { range: 'otherTotal' } })

  expect(await openBlob(house.upstream, house.digest, 100, 200)).toMatchObject({ start: 100, sizeBytes: undefined })
  expect(await openBlob(house.upstream, house.digest, 200, 300)).toMatchObject({ sizeBytes: bytes.length + 7 })
})

test('fault 6: a chunked part that goes on beyond its range is cut at the range', async () => {
  await using house = await misbehaving({ framing: 'chunked', body: bytes }, 2)

  const { fault, came } = await received(await openBlob(house.upstream, house.digest, 0, 100))

  expect(fault).toBe('upstreamFailed size')
  expect(came.length).toBeLessThanOrEqual(100)
})

test('fault 2: a chunked part that ends short of its range was cut, though its last chunk came', async () => {
  const range = `bytes 100-${bytes.length + 99}/${bytes.length + 100}`
  await using house = await misbehaving({ framing: 'chunked', headers: { 'content-range': range } }, 2)

  const { fault, came } = await received(await openBlob(house.upstream, house.digest, 100))

  expect(fault).toBe('upstreamFailed cut')
  expect(came.length).toBe(bytes.length - 100)
})

test('fault 7: an encoded blob is refused before a byte of it is used', async () => {
  await using house = await misbehaving({ encoding: 'gzip' })

  expect(await faultOf(openBlob(house.upstream, house.digest))).toBe('upstreamFailed encoding')
  expect(house.fake.headersSeen.at(-1)?.['accept-encoding']).toBe('identity')
})

test('fault 8: an upstream that drips is given up within 70 s, though it is never silent', async () => {
  await using fake = await start()
  const digest = fake.addBlob(bytes)
  fake.behave({ match: /blobs/, act: { bytesPerSecond: 250, dripBytes: 5 } })
  const outside = hurried(50) // 250 bytes a second are 5 by this clock
  await using upstream = upstreamAt(fake.origin, { outside })
  const sinceMs = outside.clock.monotonicMs()

  const { fault, came } = await received(await openBlob(upstream, digest))

  expect(fault).toBe('upstreamSlow slow')
  expect(outside.clock.monotonicMs() - sinceMs).toBeLessThan(75_000)
  expect(bytes.subarray(0, came.length).equals(came)).toBe(true)
})

test('a reader who takes longer than any timeout is waited for: upstream is held back meanwhile', async () => {
  await using fake = await start()
  const large = seededBytes(9, 24 * MIB)
  const digest = fake.addBlob(large)
  const outside = hurried(50)
  await using upstream = upstreamAt(fake.origin, { outside })

  const told = await openBlob(upstream, digest)
  if (told.at !== 'found') throw new Error(told.at)
  const pieces = told.pieces[Symbol.asyncIterator]()
  const first = Buffer.from((await pieces.next()).value ?? [])
  await outside.clock.sleep(40_000)
  const sentMeanwhile = fake.bodyBytesSent
  const rest: Buffer[] = []
  for (let next = await pieces.next(); !next.done; next = await pieces.next()) rest.push(Buffer.from(next.value))

  expect(sentMeanwhile).toBeLessThan(16 * MIB)
  expect(Buffer.concat([first, ...rest]).equals(large)).toBe(true)
})

test('pieces are at most 1 MiB, the first comes early, and none is empty', async () => {
  await using house = await misbehaving({ bytesPerSecond: 8 * MIB, dripBytes: 64 * 1024 })
  const told = await openBlob(house.upstream, house.digest)
  if (told.at !== 'found') throw new Error(told.at)

  const lengths: number[] = []
  for await (const piece of told.pieces) lengths.push(piece.length)

  expect(lengths[0]).toBeLessThanOrEqual(128 * 1024)
  expect(Math.max(...lengths)).toBeLessThanOrEqual(MIB)
  expect(Math.min(...lengths)).toBeGreaterThan(0)
  expect(lengths.reduce((sum, each) => sum + each, 0)).toBe(bytes.length)
})

test('a body that nobody reads is not held for ever, and one left before it began is gone at once', async () => {
  await using house = await misbehaving({ bytesPerSecond: MIB }, 2)
  await openBlob(house.upstream, house.digest)
  await expect.poll(() => house.fake.openConnections).toBe(0)

  const told = await openBlob(house.upstream, house.digest)
  if (told.at !== 'found') throw new Error(told.at)
  expect(house.fake.openConnections).toBe(1)
  await told.pieces[Symbol.asyncIterator]().return?.()
  await expect.poll(() => house.fake.openConnections).toBe(0)
})

test('asks one after another share a socket, HEADs too', async () => {
  await using house = await misbehaving({}, 0)
  for (let count = 0; count < 5; count++) {
    await house.upstream.headBlob(path, house.digest, never)
    await bytesOf(await openBlob(house.upstream, house.digest))
  }

  expect(house.fake.connections).toBeLessThanOrEqual(2) // one becomes free a turn of the loop after its answer
})

for (const how of ['left early', 'aborted'] as const) {
  test(`a body that is ${how} destroys its socket`, async () => {
    await using house = await misbehaving({ bytesPerSecond: MIB })
    const stop = new AbortController()
    const told = await house.upstream.endpoints[0]?.openBlob(path, house.digest, { start: 0 }, stop.signal)
    if (told?.at !== 'found') throw new Error(told?.at)

    const leave = async () => {
      for await (const _ of told.pieces) {
        if (how === 'left early') return
        stop.abort()
      }
    }
    await leave().catch(() => undefined) // an abort throws, which is not the question here

    await expect.poll(() => house.fake.openConnections).toBe(0)
  })
}
