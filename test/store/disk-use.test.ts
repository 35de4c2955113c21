import { expect, test } from 'vitest'
import { contentOf } from './content.ts'
import { fill, heldClock, newFolder, openDisk } from './support.ts'

const HOUR_MS = 3_600_000

async function diskWith(count: number, clock = heldClock()) {
  const folder = await newFolder()
  const disk = await openDisk(folder, { outside: { clock, random: () => 0.5 } })
  const contents = Array.from({ length: count }, (_, seed) => contentOf(seed, 100))
  for (const each of contents) {
    clock.advance(10)
    await disk.put(each.digest, each.bytes)
  }
  return { folder, disk, clock, digests: contents.map(({ digest }) => digest) }
}

test('the least recently used come first, a page at a time, and a touch moves one to the end', async () => {
  const { disk, clock, digests } = await diskWith(6)
  await using _ = disk
  const [first, second, third, fourth, fifth, sixth] = digests
  clock.advance(10)

  if (first && third) for (const each of [third, first]) disk.touch(each)

  const page = disk.leastRecentlyUsed(4)
  expect(page.map(({ digest }) => digest)).toEqual([second, fourth, fifth, sixth])
  expect(
    disk
      .leastRecentlyUsed(4, page.at(-1))
      .map(({ digest }) => digest)
      .sort(),
  ).toEqual([first, third].sort())
  expect(page.map(({ sizeBytes }) => sizeBytes)).toEqual([100, 100, 100, 100])
})

test('touches are brought to the books behind, and outlive a restart', async () => {
  const { folder, disk, clock, digests } = await diskWith(70)
  clock.advance(HOUR_MS + 1)
  for (const each of digests.slice(0, 60)) disk.touch(each)
  clock.advance(2_000)
  await disk[Symbol.asyncDispose]()

  await using again = await openDisk(folder, { outside: { clock, random: () => 0.5 } })

  expect(again.leastRecentlyUsed(10).map(({ digest }) => digest)).toEqual(digests.slice(60))
})

test('fault 54: a wall clock that steps back two days makes no new blob the oldest', async () => {
  const { disk, clock, digests } = await diskWith(3)
  await using _ = disk
  clock.stepWall(-48 * HOUR_MS)
  const late = contentOf(99, 100)
  await disk.put(late.digest, late.bytes)

  const order = disk.leastRecentlyUsed(10).map(({ digest }) => digest)

  expect(order.slice(0, 2)).toEqual(digests.slice(0, 2))
  expect(order).toHaveLength(4)
})

test('fault 90: bytes that are used are those of blobs and reservations, and go when these go', async () => {
  await using disk = await openDisk(await newFolder(), { cap: { bytes: 1_000_000 } })
  const blob = contentOf(1, 300_000)
  await fill(disk, blob)
  expect(disk.shortBytes(700_000)).toBe(0)
  expect(disk.shortBytes(700_001)).toBe(1)

  const sized = await disk.openSpool(contentOf(2, 10).digest, 400_000)
  await sized.write(0, Buffer.alloc(1_000))
  const unsized = await disk.openSpool(contentOf(3, 10).digest, undefined)
  await unsized.write(0, Buffer.alloc(50_000))

  expect(disk.usedBytes).toBe(300_000 + 400_000 + 50_000)
  unsized.grow(100_000)
  expect(disk.usedBytes).toBe(300_000 + 400_000 + 100_000)
  await sized.keep()
  expect(disk.usedBytes).toBe(300_000 + 1_000 + 100_000)
  await unsized.discard()
  expect(await disk.remove(sized.digest)).toBe(1_000)
  expect(await disk.remove(blob.digest)).toBe(300_000)
  expect(disk.usedBytes).toBe(0)
  expect(disk.counts()).toMatchObject({ blobs: 0, bytes: 0, spools: 0 })
})

test('space that is kept free on the volume counts against what fits, and what is reserved does too', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder, { cap: { bytes: 1e15 }, freeKeptBytes: 0 })
  const fits = 10_000_000
  expect(disk.shortBytes(fits)).toBe(0)

  await using _reserved = await disk.openSpool(contentOf(1, 10).digest, 1e14) // no volume of ours is so large

  expect(disk.shortBytes(fits)).toBeGreaterThan(0)
})

test('a cap may be a part of the volume', async () => {
  const folder = await newFolder()
  await using whole = await openDisk(folder, { cap: { ofVolume: 1 } })
  const { capBytes } = whole
  await whole[Symbol.asyncDispose]()
  await using half = await openDisk(folder, { cap: { ofVolume: 0.5 } })

  expect(half.capBytes).toBe(Math.floor(capBytes / 2))
})

test('a spool that was kept is evicted before any blob', async () => {
  await using disk = await openDisk(await newFolder())
  const blob = contentOf(1, 100)
  await fill(disk, blob)
  const spool = await disk.openSpool(contentOf(2, 10).digest, 5_000)
  await spool.write(0, Buffer.alloc(2_000))
  expect(disk.leastRecentlyUsed(10)).toHaveLength(1)
  await spool.keep()

  expect(disk.leastRecentlyUsed(10).map(({ digest }) => digest)).toEqual([spool.digest, blob.digest])
  expect(await disk.remove(spool.digest)).toBe(2_000)
  await using anew = await disk.openSpool(spool.digest, 5_000)
  expect(anew.held.bytes).toBe(0)
})
