import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import { KIB, MIB } from '../../src/base/units.ts'
import { Scrubber } from '../../src/cache/scrubber.ts'
import { hexOf } from '../../src/oci/digest.ts'
import type { Disk } from '../../src/store/disk.ts'
import { type Content, contentOf } from '../store/content.ts'
import { newFolder, openDisk } from '../store/support.ts'
import { HandClock, outsideOf } from './hand-clock.ts'
import { until } from './house.ts'

const RATE = 10 * MIB
const MINUTE_MS = 60_000

class Counted {
  bytes = 0
  corrupt = 0
  countScrubbed(bytes: number): void {
    this.bytes += bytes
  }
  countScrubCorrupt(): void {
    this.corrupt += 1
  }
}

const scrubberOf = (disk: Disk, clock: HandClock, metrics: Counted) =>
  new Scrubber({ walk: disk.walk, rateBytes: RATE, outside: outsideOf(clock), log: silentLog, metrics })

async function holdSorted(disk: Disk, count: number, sizeBytes: number): Promise<readonly Content[]> {
  const all = Array.from({ length: count }, (_, seed) => contentOf(seed, sizeBytes))
  for (const { digest, bytes } of all) await disk.put(digest, bytes)
  return all.sort((a, b) => (a.digest < b.digest ? -1 : 1))
}

async function flip(folder: string, { digest }: Content, at: number): Promise<void> {
  const path = join(folder, 'blobs', 'sha256', hexOf(digest))
  const bytes = await readFile(path)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  await writeFile(path, bytes)
}

test('fault 36: a scrub finds what has rotted, sets it aside, and leaves no use behind', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder)
  const all = await holdSorted(disk, 5, 300_000)
  const usesBefore = disk.leastRecentlyUsed(10)
  const rotten = all[2]
  if (!rotten) throw new Error('none')
  await flip(folder, rotten, 150_000)
  const [clock, metrics] = [new HandClock(), new Counted()]
  await using scrubber = scrubberOf(disk, clock, metrics)

  scrubber.start()
  clock.advance(MINUTE_MS)
  await until(() => {
    clock.advance(50)
    return metrics.bytes === 5 * 300_000 && metrics.corrupt === 1
  })

  expect(disk.find(rotten.digest)).toBeUndefined()
  expect(disk.counts()).toMatchObject({ blobs: 4, quarantined: 1 })
  expect(disk.leastRecentlyUsed(10)).toEqual(usesBefore.filter(({ digest }) => digest !== rotten.digest))
})

test('a scrub reads no more than its rate, nothing in the first minute, and begins again after a day', async () => {
  await using disk = await openDisk(await newFolder())
  await holdSorted(disk, 3, 2 * MIB)
  const [clock, metrics] = [new HandClock(), new Counted()]
  await using scrubber = scrubberOf(disk, clock, metrics)

  scrubber.start()
  clock.advance(MINUTE_MS - 1)
  await new Promise((resolve) => setImmediate(resolve))
  expect(metrics.bytes).toBe(0)
  clock.advance(1)
  await until(() => metrics.bytes > 0)
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1))
  expect(metrics.bytes).toBe(MIB) // the next waits for its tenth of a second

  let passedMs = 0
  await until(() => {
    clock.advance(50)
    passedMs += 50
    expect(metrics.bytes).toBeLessThanOrEqual(MIB + (RATE * passedMs) / 1000)
    return metrics.bytes === 6 * MIB
  })
  clock.advance(60 * MINUTE_MS)
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1))
  expect(metrics.bytes).toBe(6 * MIB)
  clock.advance(24 * 60 * MINUTE_MS)
  await until(() => metrics.bytes > 6 * MIB)
})

test('a blob of a few bytes costs a scrub as much of its rate as one of 64 KiB', async () => {
  await using disk = await openDisk(await newFolder())
  await holdSorted(disk, 40, 100)
  const [clock, metrics] = [new HandClock(), new Counted()]
  await using scrubber = scrubberOf(disk, clock, metrics)

  scrubber.start()
  clock.advance(MINUTE_MS)
  const beganMs = clock.monotonicMs()
  await until(() => {
    clock.advance(1)
    return disk.walk.findNote('scrub')?.includes('"isOver":true') === true
  })

  expect(metrics.bytes).toBe(40 * 100)
  expect(clock.monotonicMs() - beganMs).toBeGreaterThanOrEqual((40 * 64 * KIB * 1000) / RATE)
})

test('a scrub that was stopped goes on where it was, also in the midst of a blob', async () => {
  const folder = await newFolder()
  const [clock, metrics] = [new HandClock(), new Counted()]
  {
    await using disk = await openDisk(folder)
    await holdSorted(disk, 4, MIB)
    const large = contentOf(9, 3 * MIB)
    await disk.put(large.digest, large.bytes)
    const scrubber = scrubberOf(disk, clock, metrics)
    scrubber.start()
    clock.advance(MINUTE_MS)
    await until(() => {
      clock.advance(10)
      return metrics.bytes >= 4 * MIB
    })
    await scrubber[Symbol.asyncDispose]()
  }
  const before = metrics.bytes
  expect(before).toBeLessThan(7 * MIB)

  await using disk = await openDisk(folder)
  await using scrubber = scrubberOf(disk, clock, metrics)
  scrubber.start()
  clock.advance(MINUTE_MS)
  await until(() => {
    clock.advance(10)
    return disk.walk.findNote('scrub')?.includes('"isOver":true') === true
  })

  // all of it once, but for the one blob in whose midst it was
  expect(metrics.bytes - 7 * MIB).toBeGreaterThanOrEqual(0)
  expect(metrics.bytes - 7 * MIB).toBeLessThanOrEqual(3 * MIB)
})

test('what a scrub reads may be evicted meanwhile, and is no find', async () => {
  await using disk = await openDisk(await newFolder())
  const [only] = await holdSorted(disk, 1, 4 * MIB)
  if (!only) throw new Error('none')
  const [clock, metrics] = [new HandClock(), new Counted()]
  await using scrubber = scrubberOf(disk, clock, metrics)
  scrubber.start()
  clock.advance(MINUTE_MS)
  await until(() => metrics.bytes >= MIB)

  expect(await disk.remove(only.digest)).toBe(4 * MIB)
  await until(() => {
    clock.advance(50)
    return metrics.bytes === 4 * MIB
  })

  expect(metrics.corrupt).toBe(0)
  expect(disk.counts()).toMatchObject({ blobs: 0, quarantined: 0 })
})
