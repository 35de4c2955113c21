import { appendFile } from 'node:fs/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { checksumsOf } from '../../src/store/checksums.ts'
import { RangeSet } from '../../src/store/ranges.ts'
import { contentOf } from './content.ts'
import { newFolder, openDisk, readAll } from './support.ts'

const SIZE = 20_000
const content = contentOf(7, SIZE)

const span = fc.tuple(fc.nat(SIZE), fc.nat(SIZE)).map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) }))

const step = fc.oneof(
  { weight: 6, arbitrary: span.map((each) => ({ at: 'write' as const, ...each })) },
  { weight: 3, arbitrary: span.map((each) => ({ at: 'read' as const, ...each })) },
  { weight: 1, arbitrary: fc.constant({ at: 'keep' as const }) },
  { weight: 1, arbitrary: fc.constant({ at: 'restart' as const }) },
)

test('whatever is written, read, kept and restarted, a spool holds what was written and gives the right bytes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const folder = await newFolder()
      const model = new RangeSet()
      let disk = await openDisk(folder)
      let spool = await disk.openSpool(content.digest, SIZE)
      for (const each of steps) {
        if (each.at === 'write') {
          await spool.write(each.start, content.bytes.subarray(each.start, each.end))
          model.add(each.start, each.end)
        } else if (each.at === 'read') {
          const into = Buffer.alloc(SIZE)
          const bytes = await spool.read(into, each.start, each.end)
          expect(bytes).toBe(Math.max(0, Math.min(each.end, model.endFrom(each.start)) - each.start))
          expect(into.subarray(0, bytes).equals(content.bytes.subarray(each.start, each.start + bytes))).toBe(true)
        } else {
          if (each.at === 'keep') await spool.keep()
          else {
            await disk[Symbol.asyncDispose]()
            disk = await openDisk(folder)
          }
          spool = await disk.openSpool(content.digest, undefined)
        }
        expect(spool.held.ranges).toEqual(model.ranges)
      }

      spool.grow(SIZE)
      for (const { start, end } of spool.held.gaps(SIZE)) await spool.write(start, content.bytes.subarray(start, end))
      await disk.commit(spool, checksumsOf(content.bytes))
      await spool.close()

      expect((await readAll(disk, content.digest))?.equals(content.bytes)).toBe(true)
      expect(disk.usedBytes).toBe(SIZE)
      await disk[Symbol.asyncDispose]()
    }),
    { numRuns: 25 },
  )
})

test('what a kill left in a spool beyond its note does not keep the blob from being committed', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder)
  const kept = await disk.openSpool(content.digest, undefined)
  await kept.write(0, content.bytes.subarray(0, 500))
  await kept.keep()
  await appendFile(kept.path, Buffer.alloc(2 * SIZE)) // of a source that would not stop

  const spool = await disk.openSpool(content.digest, SIZE)
  await spool.write(500, content.bytes.subarray(500))
  await disk.commit(spool, checksumsOf(content.bytes))
  await spool.close()

  expect((await readAll(disk, content.digest))?.equals(content.bytes)).toBe(true)
})

test('pieces written at once at many places all arrive', async () => {
  await using disk = await openDisk(await newFolder())
  await using spool = await disk.openSpool(content.digest, undefined)
  const starts = Array.from({ length: SIZE / 500 }, (_, number) => number * 500)

  await Promise.all(starts.toReversed().map((at) => spool.write(at, content.bytes.subarray(at, at + 500))))

  expect(spool.held.ranges).toEqual([{ start: 0, end: SIZE }])
  await disk.commit(spool, checksumsOf(content.bytes))
  expect((await readAll(disk, content.digest))?.equals(content.bytes)).toBe(true)
})

for (const [kept, asked, heldBytes, why] of [
  [SIZE, SIZE, 5_000, 'the same size'],
  [SIZE, undefined, 5_000, 'a size that is not known yet'],
  [undefined, SIZE, 5_000, 'a size that was not known then'],
  [SIZE, SIZE + 1, 0, 'another size: one of the two lied'],
  [undefined, 4_000, 0, 'a size below what is held'],
] as const) {
  test(`a kept spool ${heldBytes ? 'is gone on with' : 'is begun anew'} at ${why}`, async () => {
    await using disk = await openDisk(await newFolder())
    const first = await disk.openSpool(content.digest, kept)
    await first.write(0, content.bytes.subarray(0, 5_000))
    await first.close()

    await using second = await disk.openSpool(content.digest, asked)

    expect(second.held.bytes).toBe(heldBytes)
    expect(disk.usedBytes).toBe(Math.max(asked ?? 0, heldBytes)) // what was not asked for, nobody made room for
  })
}

test('a digest has one growing spool at a time', async () => {
  await using disk = await openDisk(await newFolder())
  await using _spool = await disk.openSpool(content.digest, SIZE)

  await expect(disk.openSpool(content.digest, SIZE)).rejects.toThrow(/is under way/)
})

test('a spool that ended takes no bytes, and ends once however often it is told to', async () => {
  await using disk = await openDisk(await newFolder())
  const spool = await disk.openSpool(content.digest, SIZE)
  await spool.write(0, content.bytes)
  await Promise.all([spool.discard(), spool.keep(), spool.close()])

  await expect(spool.write(0, content.bytes)).rejects.toMatchObject({ name: 'DiskError' })
  await expect(disk.commit(spool, checksumsOf(content.bytes))).rejects.toMatchObject({ name: 'DiskError' })
  expect(disk.isDegraded).toBe(false)
  expect(disk.usedBytes).toBe(0)
})

test('an empty blob is a blob', async () => {
  await using disk = await openDisk(await newFolder())
  const empty = contentOf(1, 0)
  await using spool = await disk.openSpool(empty.digest, 0)

  await disk.commit(spool, checksumsOf(empty.bytes))

  expect(await readAll(disk, empty.digest)).toEqual(Buffer.alloc(0))
})

test('a blob that is too large for who asks for it whole is not read', async () => {
  await using disk = await openDisk(await newFolder())
  await disk.put(content.digest, content.bytes)

  expect(await disk.readWhole(content.digest, SIZE - 1)).toBeUndefined()
  expect(await disk.readWhole(content.digest, SIZE)).toHaveLength(SIZE)
})
