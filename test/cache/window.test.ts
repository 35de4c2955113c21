import { expect, test, vi } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { MIB } from '../../src/base/units.ts'
import { TAIL_BYTES } from '../../src/cache/fill.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { DiskError } from '../../src/store/disk-error.ts'
import { seededBytes } from '../support/images.ts'
import { pull, pullWhole, ScriptedSource, startFills } from './fill-support.ts'

const LARGE = seededBytes(3, 40 * MIB + 5)

/** A disk that takes so many bytes of a spool and then is full. */
async function startFull(takesBytes: number) {
  const house = await startFills()
  const openSpool = house.keeper.openSpool
  house.keeper.openSpool = async (digest, sizeBytes) => {
    const spool = await openSpool(digest, sizeBytes)
    const write = spool.write.bind(spool)
    spool.write = async (offset, piece) => {
      if (offset + piece.length > takesBytes) throw new DiskError('full', 'the disk is full')
      await write(offset, piece)
    }
    return spool
  }
  return house
}

test('fault 30: a blob larger than the cap is served whole through memory, and nothing is kept', async () => {
  await using house = await startFills(4 * MIB)
  const source = new ScriptedSource('a', LARGE)
  const fill = house.join(LARGE, [source])

  const { bytes, error } = await pullWhole(fill, LARGE)

  expect(error).toBeUndefined()
  expect(bytes.equals(LARGE)).toBe(true)
  expect(await fill.ended).toEqual({ at: 'passed' })
  expect(house.disk.find(digestOf(LARGE))).toBeUndefined()
  expect(house.disk.usedBytes).toBe(0)
})

test('fault 30: a disk that fills midway costs no reader a byte: those behind read on, and nothing is kept', async () => {
  await using house = await startFull(10 * MIB)
  const source = new ScriptedSource('a', LARGE)
  const fill = house.join(LARGE, [source])
  const gate = Promise.withResolvers<boolean>()

  const slow = pullWhole(fill, LARGE, () => gate.promise)
  const fast = pullWhole(fill, LARGE)
  const range = pull(fill, { start: 35 * MIB, end: 36 * MIB })
  await pull(fill, { start: 9 * MIB, end: 10 * MIB })
  gate.resolve(true)

  const got = await Promise.all([slow, fast, range])
  expect(got.map(({ error }) => error)).toEqual([undefined, undefined, undefined])
  expect(got[0].bytes.equals(LARGE)).toBe(true)
  expect(got[1].bytes.equals(LARGE)).toBe(true)
  expect(got[2].bytes.equals(LARGE.subarray(35 * MIB, 36 * MIB))).toBe(true)
  expect(await fill.ended).toEqual({ at: 'passed' })
  await vi.waitFor(() => expect(house.disk.usedBytes).toBe(0)) // when the last reader has closed the file
})

test('what can’t be kept takes no newcomers: they start a fill of their own', async () => {
  await using house = await startFills(4 * MIB)
  const gate = Promise.withResolvers<void>()
  const source = new ScriptedSource('a', LARGE, () => ({ holdAfter: MIB, until: gate.promise }))
  const first = house.join(LARGE, [source])
  const one = pullWhole(first, LARGE)
  await vi.waitFor(() => expect(first.takesNewcomers).toBe(false), { interval: 1 })

  const second = house.join(LARGE, [source])
  const other = pullWhole(second, LARGE)
  gate.resolve()

  expect(second).not.toBe(first)
  expect((await one).bytes.equals(LARGE)).toBe(true)
  expect((await other).bytes.equals(LARGE)).toBe(true)
})

test('fault 4: a corrupt blob that can’t be kept leaves without its tail', async () => {
  await using house = await startFills(4 * MIB)
  const source = new ScriptedSource('a', LARGE, () => ({ flipAt: 20 * MIB }))

  const { bytes, error } = await pullWhole(house.join(LARGE, [source]), LARGE)

  expect(error).toMatchObject({ fault: 'digest' })
  expect(bytes.length).toBeLessThanOrEqual(LARGE.length - TAIL_BYTES)
})

test('a range of what can’t be kept is fetched alone', async () => {
  await using house = await startFills(4 * MIB)
  const source = new ScriptedSource('a', LARGE)
  const span = { start: 20 * MIB, end: 21 * MIB }

  const { bytes } = await pull(house.join(LARGE, [source], { offset: span.start, end: span.end, isRange: true }), span)

  expect(bytes.equals(LARGE.subarray(span.start, span.end))).toBe(true)
  expect(source.sentBytes).toBe(MIB)
})

test('when its last reader leaves, a fill that keeps nothing ends', async () => {
  await using house = await startFills(4 * MIB)
  const source = new ScriptedSource('a', LARGE)
  const fill = house.join(LARGE, [source])

  await pullWhole(fill, LARGE, async () => false)

  expect(await fill.ended).toEqual({ at: 'stopped' })
  expect(source.sentBytes).toBeLessThan(LARGE.length)
})

test('fault 21: who stands still for ten seconds is cut where nothing can be kept, and the others read on', async () => {
  const { clock, random } = systemOutside
  // a hundred times as fast
  const fast = {
    wallMs: () => clock.wallMs(),
    monotonicMs: () => clock.monotonicMs() * 100,
    sleep: (ms: number, signal?: AbortSignal) => clock.sleep(ms / 100, signal),
    after: (ms: number, act: () => void) => clock.after(ms / 100, act),
  }
  await using house = await startFills(4 * MIB, { clock: fast, random })
  const fill = house.join(LARGE, [new ScriptedSource('a', LARGE)])
  const gate = Promise.withResolvers<boolean>()

  const still = pullWhole(fill, LARGE, () => gate.promise)
  const moving = await pullWhole(fill, LARGE)
  gate.resolve(true)

  expect(moving.error).toBeUndefined()
  expect(moving.bytes.equals(LARGE)).toBe(true)
  expect((await still).error).toMatchObject({ reason: 'overloaded' })
  expect(await fill.ended).toEqual({ at: 'passed' })
})

test('fault 30: all that can’t be kept is held in 256 MiB, however many fills there are', async () => {
  await using house = await startFills(4 * MIB)
  const gate = Promise.withResolvers<boolean>()
  const layer = LARGE.subarray(0, 20 * MIB)
  const sources = Array.from({ length: 24 }, () => new ScriptedSource('a', layer))
  const asked = () => sources.reduce((sum, source) => sum + source.sentBytes, 0)

  // each has a fill of its own, whose reader stands still
  const pulls = []
  for (const source of sources) {
    const fill = house.join(layer, [source])
    pulls.push(pullWhole(fill, layer, () => gate.promise))
    await vi.waitFor(() => expect(fill.takesNewcomers).toBe(false), { interval: 0 })
  }
  await vi.waitFor(() => expect(asked()).toBeGreaterThan(192 * MIB))
  for (let turn = 0; turn < 500; turn++) await new Promise((resolve) => setImmediate(resolve))

  expect(asked()).toBeLessThanOrEqual(192 * MIB + sources.length * 2 * MIB) // and a piece each, which waits
  gate.resolve(true)
  const got = await Promise.all(pulls)
  expect(got.every(({ bytes }) => bytes.equals(layer))).toBe(true)
})
