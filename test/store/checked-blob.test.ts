import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { xxh64 } from '@node-rs/xxhash'
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import { MIB } from '../../src/base/units.ts'
import { Blocks } from '../../src/store/blocks.ts'
import { CheckedBlob } from '../../src/store/checked-blob.ts'
import { Check } from '../../src/store/checks.ts'
import { Checksums, checksumsOf } from '../../src/store/checksums.ts'
import { DiskError } from '../../src/store/disk-error.ts'
import { OpenBlobs, type RawBlob } from '../../src/store/open-blob.ts'
import { seededBytes } from '../support/images.ts'
import { contentOf } from './content.ts'
import { heldClock, newFolder } from './support.ts'

const SIZE = 3 * MIB + 4_321
const BYTES = seededBytes(4, SIZE)
const HOUR_MS = 3_600_000

/** A blob in a file of its own, and readers that tell what they read of it. */
async function blobFile(clock: Clock = heldClock()) {
  const path = join(await newFolder(), 'blob')
  await writeFile(path, BYTES)
  const { digest } = contentOf(1, 1)
  const openBlobs = new OpenBlobs()
  const blocks = new Blocks()
  const check = new Check(checksumsOf(BYTES), SIZE, clock)
  const read: number[] = []
  const reader = async (): Promise<CheckedBlob> => {
    const raw = await openBlobs.open(digest, path, SIZE, () => undefined)
    if (!raw) throw new Error('no file')
    const counted: RawBlob = {
      ...raw,
      read: (into, offset, end) => {
        read.push(Math.min(into.length, end - offset))
        return raw.read(into, offset, end)
      },
    }
    const onWrong = async (why: string) => new DiskError('wrong', why)
    return new CheckedBlob({ raw: counted, check, blocks, onWrong })
  }
  return { path, blocks, read, reader }
}

async function readRange(blob: CheckedBlob, start: number, end: number, stepBytes = 64 * 1024): Promise<Buffer> {
  const pieces: Buffer[] = []
  const into = Buffer.alloc(stepBytes)
  for (let offset = start; offset < end; ) {
    const length = await blob.read(into, offset, end)
    if (length === 0) throw new Error('nothing came')
    pieces.push(Buffer.from(into.subarray(0, length)))
    offset += length
  }
  return Buffer.concat(pieces)
}

test('checksums are the same whatever the pieces, and each is xxh64 of its MiB', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 1_500_000 }), { minLength: 1, maxLength: 40 }), (steps) => {
      const sums = new Checksums()
      let offset = 0
      for (const step of steps) {
        sums.take(BYTES.subarray(offset, offset + step))
        offset = Math.min(offset + step, SIZE)
      }
      const ended = sums.end()
      expect(ended.equals(checksumsOf(BYTES.subarray(0, offset)))).toBe(true)
      if (offset >= 2 * MIB) expect(ended.readBigUInt64LE(8)).toBe(xxh64(BYTES.subarray(MIB, 2 * MIB)))
    }),
    { numRuns: 30 },
  )
})

test('whatever is read in whatever steps is the blob’s, also when another file has its name', async () => {
  const { path, reader, blocks } = await blobFile()
  await using blob = await reader()
  const range = fc.tuple(fc.nat(SIZE - 1), fc.nat(2 * MIB), fc.integer({ min: 50_000, max: 2 * MIB }))
  const areRight = async () => {
    const right = fc.asyncProperty(range, async ([start, length, step]) => {
      const end = Math.min(start + length, SIZE)
      expect((await readRange(blob, start, end, step)).equals(BYTES.subarray(start, end))).toBe(true)
    })
    await fc.assert(right, { numRuns: 20 })
  }

  await areRight()
  await writeFile(`${path}.other`, Buffer.alloc(SIZE))
  await rename(`${path}.other`, path)
  await areRight()

  expect(blocks.held).toBeLessThanOrEqual(1)
})

test('a block is read once to be compared and to leave, and within the hour is not compared again', async () => {
  const clock = heldClock()
  const { read, reader } = await blobFile(clock)
  await using blob = await reader()
  await readRange(blob, 0, SIZE)
  expect(read).toEqual([MIB, MIB, MIB, 4_321])
  read.length = 0

  clock.advance(HOUR_MS - 1)
  await using other = await reader()
  await readRange(other, MIB, MIB + 10)
  expect(read).toEqual([10])
  clock.advance(1)
  await readRange(other, MIB, MIB + 10)

  expect(read).toEqual([10, MIB])
})

test('readers whose clients stand still hold a bounded number of blocks, and keep no other waiting', async () => {
  const { reader, blocks } = await blobFile()
  const readers = await Promise.all(Array.from({ length: 60 }, reader))

  const begun = await Promise.all(readers.map((blob) => readRange(blob, 5, 10)))

  expect(begun.every((bytes) => bytes.equals(BYTES.subarray(5, 10)))).toBe(true)
  expect(blocks.held).toBeLessThanOrEqual(32)
  for (const blob of readers) await blob[Symbol.asyncDispose]()
  expect(blocks.held).toBe(0)
})

test('who leaves while his block is read gives it back when the disk is done with it', async () => {
  const { reader, blocks } = await blobFile()
  const blob = await reader()

  const reading = blob.read(Buffer.alloc(10), 0, 10)
  const leaving = blob[Symbol.asyncDispose]()
  expect(blocks.held).toBe(1)
  await Promise.allSettled([reading, leaving])

  await vi.waitFor(() => expect(blocks.held).toBe(0))
})
