import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { seededBytes } from '../support/images.ts'
import { startUpstream } from '../support/upstream.ts'
import { type HouseOptions, NEVER, ofTag, startHouse } from './house.ts'

const BLOB_BYTES = 1_000
const HOUR_MS = 3_600_000

async function given(options: HouseOptions = {}) {
  const upstream = await startUpstream()
  const house = await startHouse(upstream, { cap: { bytes: 10 * BLOB_BYTES }, ...options })
  onTestFinished(async () => {
    await house[Symbol.asyncDispose]()
    await upstream.stop()
    await house.end()
  })
  let seed = 100
  /** A blob used a second later than the one before. */
  const keep = async (sizeBytes = BLOB_BYTES): Promise<Digest> => {
    const bytes = seededBytes(seed++, sizeBytes)
    await house.disk.put(digestOf(bytes), bytes)
    house.clock.advance(1_000)
    return digestOf(bytes)
  }
  const isHeld = (digest: Digest) => house.disk.find(digest) !== undefined
  return { upstream, house, keep, isHeld, app: house.repository('team/app') }
}

const times = async <T>(count: number, act: () => Promise<T>): Promise<T[]> => {
  const done: T[] = []
  for (let at = 0; at < count; at++) done.push(await act())
  return done
}

test('room is made by evicting what was used least recently, and no more than is missing', async () => {
  const { house, keep, isHeld } = await given()
  const [first, second, third] = await times(9, () => keep())
  if (!first || !second || !third) throw new Error('no blobs')
  house.disk.touch(first)

  const hasRoom = await house.evictor.reserve(2 * BLOB_BYTES)

  expect(hasRoom).toBe(true)
  expect([first, second, third].map(isHeld)).toEqual([true, false, true])
  expect(house.evicted).toEqual([BLOB_BYTES])
  expect(await readdir(join(house.folder, 'blobs', 'sha256'))).toHaveLength(8)
})

test('two who want room at once evict for both and not twice', async () => {
  const { house, keep } = await given()
  await times(9, () => keep())

  const have = await Promise.all([house.evictor.reserve(2 * BLOB_BYTES), house.evictor.reserve(2 * BLOB_BYTES)])

  expect(have).toEqual([true, true])
  expect(house.evicted).toHaveLength(1)
})

test('above the high watermark a pass evicts down to the low one, behind everyone', async () => {
  const { house, keep } = await given()
  await times(10, () => keep())

  house.evictor.start()
  await house.evictor.idle()

  expect(house.disk.usedBytes).toBe(9 * BLOB_BYTES)
})

test('below the high watermark nothing is evicted', async () => {
  const { house, keep } = await given()
  await times(9, () => keep())

  house.evictor.start()
  await house.evictor.idle()

  expect(house.evicted).toEqual([])
})

test('what could never fit evicts nothing', async () => {
  const { house, keep } = await given()
  await times(5, () => keep())

  expect(await house.evictor.reserve(11 * BLOB_BYTES)).toBe(false)
  expect(house.evicted).toEqual([])
})

test('a blob under a reader is passed over, and goes once the reader is done', async () => {
  const { house, keep, isHeld } = await given()
  const [first, second] = await times(10, () => keep())
  if (!first || !second) throw new Error('no blobs')
  const reading = await house.disk.openBlob(first)

  await house.evictor.reserve(BLOB_BYTES)
  const whileRead = [first, second].map(isHeld)
  await reading?.[Symbol.asyncDispose]()
  await house.evictor.reserve(2 * BLOB_BYTES)

  expect(whileRead).toEqual([true, false])
  expect(isHeld(first)).toBe(false)
})

test('where all is under readers there is no room, and that is told', async () => {
  const { house, keep } = await given()
  const kept = await times(10, () => keep())
  const readers = await Promise.all(kept.map((digest) => house.disk.openBlob(digest)))

  expect(await house.evictor.reserve(BLOB_BYTES)).toBe(false)
  expect([house.disk.isDegraded, house.disk.isFailing]).toEqual([true, false])
  for (const reader of readers) await reader?.[Symbol.asyncDispose]()
})

test('those who want room at once are never given the same: the cap holds whatever they all write', async () => {
  const { house, keep } = await given()
  await times(6, () => keep())
  const digests = [1, 2, 3, 4, 5, 6].map((seed) => digestOf(seededBytes(seed, 1)))
  const spools = await Promise.all(digests.map((digest) => house.disk.openSpool(digest, undefined)))

  const have = await Promise.all(
    spools.map((spool) => house.evictor.reserve(4 * BLOB_BYTES, () => spool.grow(4 * BLOB_BYTES))),
  )

  expect(have.filter(Boolean)).toHaveLength(2)
  expect(house.disk.usedBytes).toBeLessThanOrEqual(house.disk.capBytes)
  for (const spool of spools) await spool.discard()
})

test('what a pinned tag leads to stays, down to its blobs, and something else goes', async () => {
  const { upstream, house, keep, isHeld, app } = await given({ pin: ['team/app:v1'], cap: { bytes: 20 * BLOB_BYTES } })
  const image = upstream.addImage('team/app', 'v1', { layers: 1, layerBytes: BLOB_BYTES })
  await house.manifests.get(app, ofTag('v1'), NEVER)
  for (const { digest } of [image.config, ...image.layers]) await house.hold('team/app', digest, image.bytesOf(digest))
  house.clock.advance(1_000)
  const [other] = await times(16, () => keep())
  if (!other) throw new Error('no blob')

  await house.evictor.reserve(5 * BLOB_BYTES)

  const pinned = [image.digest, image.config.digest, ...image.layers.map(({ digest }) => digest)]
  expect(pinned.map(isHeld)).toEqual([true, true, true])
  expect(isHeld(other)).toBe(false)
})

test('a walk passes over more than a page of what is pinned or read, and ends where nothing else is left', async () => {
  const { house, keep, isHeld } = await given({ pin: ['team/app'] })
  for (let at = 0; at < 120; at++) {
    const bytes = seededBytes(5_000 + at, 10)
    await house.hold('team/app', digestOf(bytes), bytes)
    house.clock.advance(1)
  }
  const small = await times(120, () => keep(10))
  const readers = await Promise.all(small.map((digest) => house.disk.openBlob(digest)))
  const large = await times(7, () => keep())
  house.clock.tickMs = 1 // what is used while the walk goes on comes behind it

  const hasRoom = await house.evictor.reserve(2 * BLOB_BYTES)
  const hasMore = await house.evictor.reserve(9 * BLOB_BYTES)

  expect([hasRoom, hasMore]).toEqual([true, false])
  expect(large.map(isHeld)).toEqual(large.map(() => false))
  expect(house.disk.counts().blobs).toBe(240)
  for (const reader of readers) await reader?.[Symbol.asyncDispose]()
})

test("fault 49: a manifest's use is its blobs' use: what two images share stays while either is used", async () => {
  const { upstream, house, keep, isHeld, app } = await given({ cap: { bytes: 20 * BLOB_BYTES } })
  const old = upstream.addImage('team/app', 'old', { layers: 1, layerBytes: BLOB_BYTES })
  const shared = old.layers[0]?.digest
  if (!shared) throw new Error('no layer')
  const { schemaVersion, config, layers } = JSON.parse(String(old.manifest))
  const annotations = { 'org.example.build': 'new' }
  upstream.addManifest('team/app', { schemaVersion, config, layers, annotations }, undefined, 'new')
  for (const tag of ['old', 'new']) await house.manifests.get(app, ofTag(tag), NEVER)
  for (const digest of [old.config.digest, shared]) await house.hold('team/app', digest, old.bytesOf(digest))
  await house.evictor.idle()
  house.clock.advance(HOUR_MS)
  const [other] = await times(16, () => keep())
  if (!other) throw new Error('no blob')

  house.manifests.find(app, ofTag('new')) ?? (await house.manifests.get(app, ofTag('new'), NEVER))
  await house.evictor.idle()
  await house.evictor.reserve(5 * BLOB_BYTES)

  expect([shared, old.config.digest].map(isHeld)).toEqual([true, true])
  expect([old.digest, other].map(isHeld)).toEqual([false, false])
})

test('what is known of a manifest goes with its bytes, its link stays, and all is known again when it comes again', async () => {
  const { upstream, house, keep, isHeld, app } = await given({ cap: { bytes: 20 * BLOB_BYTES } })
  const image = upstream.addImage('team/app', 'v1', { layers: 1, layerBytes: BLOB_BYTES })
  await house.manifests.get(app, ofTag('v1'), NEVER)
  house.clock.advance(HOUR_MS)
  await times(16, () => keep())
  await house.evictor.idle()

  await house.evictor.reserve(15 * BLOB_BYTES)

  expect(isHeld(image.digest)).toBe(false)
  expect(await house.index.findManifest(image.digest)).toBeUndefined()
  expect(await house.index.mayShow(app, image.digest)).toBe(true)
  const rooms = await house.restart()
  await rooms.manifests.get(app, ofTag('v1'), NEVER)
  expect((await rooms.index.findManifest(image.digest))?.children).toHaveLength(2)
  await rooms[Symbol.asyncDispose]()
})

test('fault 49: under eviction in a loop, no reader gets less than a whole blob', async () => {
  const { house, keep } = await given()
  await times(9, () => keep())
  const seeds = Array.from({ length: 200 }, (_, at) => 1_000 + at)
  let read = 0

  await Promise.all(
    seeds.map(async (seed) => {
      const bytes = seededBytes(seed, BLOB_BYTES)
      const digest = digestOf(bytes)
      if (!(await house.evictor.reserve(BLOB_BYTES)) || !(await house.disk.put(digest, bytes))) return
      await using blob = await house.disk.openBlob(digest)
      if (!blob) return
      await systemOutside.clock.sleep(seed % 7)
      const into = Buffer.alloc(BLOB_BYTES)
      expect(await blob.read(into, 0, BLOB_BYTES)).toBe(BLOB_BYTES)
      expect(into.equals(bytes)).toBe(true)
      read++
    }),
  )

  expect(read).toBeGreaterThan(0)
  expect(house.disk.usedBytes).toBeLessThanOrEqual(house.disk.capBytes)
})

test('a use is told to the blobs of a manifest once an hour, however often it is used', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  await house.hold('team/app', image.config.digest, image.bytesOf(image.config.digest))
  await house.manifests.get(app, ofTag('v1'), NEVER)
  await house.evictor.idle()
  const usedMs = () => house.disk.leastRecentlyUsed(9).find(({ digest }) => digest === image.config.digest)?.usedMs
  const before = usedMs()

  house.clock.advance(HOUR_MS - 1)
  await house.manifests.get(app, { digest: image.digest }, NEVER)
  await house.evictor.idle()
  const within = usedMs()
  house.clock.advance(1)
  await house.manifests.get(app, { digest: image.digest }, NEVER)
  await house.evictor.idle()

  expect(within).toBe(before)
  expect(usedMs()).toBe((before ?? 0) + HOUR_MS)
})
