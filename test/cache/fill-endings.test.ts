import { expect, test, vi } from 'vitest'
import { MIB } from '../../src/base/units.ts'
import type { Source } from '../../src/cache/source.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { DiskError } from '../../src/store/disk-error.ts'
import { seededBytes } from '../support/images.ts'
import { pull, pullWhole, ScriptedSource, startFills } from './fill-support.ts'

const LAYER = seededBytes(31, 6 * MIB + 123)
const LARGE = seededBytes(32, 40 * MIB + 5)

/** What every source gives, with a count of the bodies that were neither read to their end nor left. */
function counted(inner: Source): Source & { open: Source['open']; unread: number } {
  const source = {
    name: inner.name,
    unread: 0,
    open: async (...[asked, signal]: Parameters<Source['open']>) => {
      const told = await inner.open(asked, signal)
      if (told.at !== 'found') return told
      source.unread += 1
      const free = () => {
        source.unread -= 1
      }
      signal.addEventListener('abort', free, { once: true })
      async function* pieces(from: AsyncIterable<Buffer>) {
        signal.removeEventListener('abort', free)
        try {
          yield* from
        } finally {
          free()
        }
      }
      return { ...told, pieces: pieces(told.pieces) }
    },
  }
  return source
}

test('the body of a source that tells another size is left at once: it holds no socket', async () => {
  await using house = await startFills()
  const liar = counted(new ScriptedSource('a', LAYER, () => ({ sizeSaid: LAYER.length - 1 })))
  const gate = Promise.withResolvers<void>()
  const honest = new ScriptedSource('b', LAYER, () => ({ until: gate.promise }))
  const fill = house.join(LAYER, [liar, honest])

  await vi.waitFor(() => expect(honest.asked).toHaveLength(1))

  expect(liar.unread).toBe(0)
  gate.resolve()
  expect(await fill.ended).toEqual({ at: 'kept' })
})

test('the body of a stream that gives way is left at once: it holds no socket', async () => {
  await using house = await startFills()
  const gate = Promise.withResolvers<void>()
  const acts = [{ holdAfter: MIB, until: gate.promise }, { ignoresRange: true }]
  const source = counted(new ScriptedSource('a', LARGE, (turn) => acts[turn] ?? {}))
  const fill = house.join(LARGE, [source])
  const whole = pullWhole(fill, LARGE)
  await fill.told

  const far = pull(fill, { start: 30 * MIB, end: 31 * MIB })
  await vi.waitFor(() => expect(source.unread).toBe(1))
  gate.resolve()

  expect((await far).error).toBeUndefined()
  expect((await whole).bytes.equals(LARGE)).toBe(true)
})

test('fault 44: who comes while a failed fill is ending gets a fill of his own, not its end', async () => {
  await using house = await startFills()
  const broken = new ScriptedSource('a', LAYER, (turn) => (turn === 0 ? { cutAfter: 3 * MIB } : { at: 'absent' }))
  const closing = Promise.withResolvers<void>()
  const { openSpool } = house.keeper
  const slowly = vi.fn(async (...args: Parameters<typeof openSpool>) => {
    const spool = await openSpool(...args)
    const close = spool.close.bind(spool)
    return Object.assign(spool, { close: () => closing.promise.then(close) })
  })
  Object.assign(house.keeper, { openSpool: slowly })
  const fill = house.join(LAYER, [broken])
  const first = pullWhole(fill, LAYER)
  await vi.waitFor(() => expect(fill.isOver).toBe(true), { interval: 0 })

  const next = new ScriptedSource('b', LAYER)
  const later = house.join(LAYER, [next])
  const pulled = pullWhole(later, LAYER)
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
  const openedMeanwhile = slowly.mock.calls.length
  closing.resolve()
  const got = await pulled

  expect(later).not.toBe(fill)
  // it waits until the first is done with the spool that both have, and goes on with what is there
  expect(openedMeanwhile).toBe(1)
  expect(next.asked.map(({ start }) => start)).toEqual([3 * MIB])
  expect(await later.ended).toEqual({ at: 'kept' })
  expect((await first).error).toMatchObject({ fault: 'cut' })
  expect(got.error).toBeUndefined()
  expect(got.bytes.equals(LAYER)).toBe(true)
})

test('who comes while a fill that had only begun is stopped gets a fill of his own', async () => {
  for (let ticks = 0; ticks < 24; ticks += 6) {
    await using house = await startFills()
    const stopped = house.join(LAYER, [new ScriptedSource('a', LAYER)])
    for (let tick = 0; tick < ticks; tick += 1) await undefined
    stopped.stop()
    await stopped.ended

    const got = await pullWhole(house.join(LAYER, [new ScriptedSource('b', LAYER)]), LAYER)

    expect(got.error, `stopped after ${ticks} ticks`).toBeUndefined()
    expect(got.bytes.equals(LAYER)).toBe(true)
  }
})

test('fault 30: readers of several ranges of what can’t be kept, who came together, each get theirs or an end', async () => {
  await using house = await startFills(4 * MIB)
  const source = new ScriptedSource('a', LARGE)
  const spans = [0, 10, 20, 30].map((at) => ({ start: at * MIB, end: (at + 10) * MIB }))

  const got = await Promise.all(
    spans.map((span) => pull(house.join(LARGE, [source], { offset: span.start, end: span.end, isRange: true }), span)),
  )

  expect(got[0]?.bytes.equals(LARGE.subarray(0, 10 * MIB))).toBe(true)
  expect(got.slice(1).map(({ error }) => error)).toEqual(Array(3).fill(expect.objectContaining({ fault: 'disk' })))
})

test('a fill that resumes a spool does not evict it to make room for itself', async () => {
  await using house = await startFills(8 * MIB)
  house.keeper.reserve = async (bytes) => {
    for (const { digest } of house.disk.leastRecentlyUsed(10)) {
      if (house.disk.shortBytes(bytes) > 0) await house.disk.remove(digest)
    }
    return house.disk.shortBytes(bytes) === 0
  }
  const cut = new ScriptedSource('a', LAYER, (turn) => (turn === 0 ? { cutAfter: 5 * MIB } : { at: 'absent' }))
  await house.join(LAYER, [cut]).ended

  const second = new ScriptedSource('b', LAYER)
  const end = await house.join(LAYER, [second]).ended

  expect(end).toEqual({ at: 'kept' })
  expect(second.sentBytes).toBe(LAYER.length - 5 * MIB)
  expect(house.disk.find(digestOf(LAYER))).toBeDefined()
})

test('fault 19: what a last reader leaves at a mismatch is set aside, never gone on with', async () => {
  await using house = await startFills()
  const liar = new ScriptedSource('a', LAYER, () => ({ flipAt: 9 }))
  const honest = new ScriptedSource('b', LAYER)

  await pullWhole(house.join(LAYER, [liar]), LAYER)
  const end = await house.join(LAYER, [honest]).ended

  expect(house.ends[0]).toMatchObject({ at: 'mismatch' })
  expect(end).toEqual({ at: 'kept' })
  expect(honest.sentBytes).toBe(LAYER.length)
})

test('fault 3: a spool that is longer than the blob, as its source says later, is no blob: the fill ends, and anew', async () => {
  await using house = await startFills()
  const longer = Buffer.concat([LAYER, Buffer.alloc(MIB)])
  const digest = digestOf(LAYER)
  const spool = await house.disk.openSpool(digest, undefined)
  for (let at = 0; at < longer.length; at += MIB) await spool.write(at, longer.subarray(at, at + MIB))
  await spool.keep()
  const source = new ScriptedSource('a', LAYER)

  const first = await house.join(LAYER, [source], {}, false).ended
  const second = await house.join(LAYER, [source], {}, false).ended

  expect(first).toMatchObject({ at: 'mismatch', liars: [] })
  expect(second).toEqual({ at: 'kept' })
})

test('fault 30: a range that the spool has, read slowly, does not hold up those who read on through memory', async () => {
  await using house = await startFills()
  const openSpool = house.keeper.openSpool
  house.keeper.openSpool = async (...args) => {
    const spool = await openSpool(...args)
    const write = spool.write.bind(spool)
    spool.write = async (offset, piece) => {
      if (offset >= 10 * MIB) throw new DiskError('full', 'the disk is full')
      await write(offset, piece)
    }
    return spool
  }
  const fill = house.join(LARGE, [new ScriptedSource('a', LARGE)])
  const gate = Promise.withResolvers<boolean>()

  const slow = pull(fill, { start: 0, end: 4 * MIB }, () => gate.promise)
  const fast = await pullWhole(fill, LARGE)
  gate.resolve(true)

  expect(fast.bytes.equals(LARGE)).toBe(true)
  expect((await slow).bytes.equals(LARGE.subarray(0, 4 * MIB))).toBe(true)
})

test('two streams that come upon the same bytes never write them twice, nor through the window', async () => {
  await using house = await startFills()
  const gate = Promise.withResolvers<void>()
  const openSpool = house.keeper.openSpool
  const written: number[] = []
  house.keeper.openSpool = async (...args) => {
    const spool = await openSpool(...args)
    const write = spool.write.bind(spool)
    spool.write = async (offset, piece) => {
      written.push(offset)
      if (offset >= 20 * MIB && offset < 21 * MIB) await gate.promise // a slow disk, under the stream that is aborted
      await write(offset, piece)
    }
    return spool
  }
  // the far stream honours its range; then the front's source turns out to have none
  const acts = [{ cutAfter: 12 * MIB }, {}, { ignoresRange: true }]
  const source = new ScriptedSource('a', LARGE, (turn) => acts[turn] ?? { ignoresRange: true })
  const fill = house.join(LARGE, [source])
  const whole = pullWhole(fill, LARGE)
  const far = pull(fill, { start: 20 * MIB, end: LARGE.length })
  await vi.waitFor(() => expect(fill.held.endFrom(0)).toBeGreaterThanOrEqual(19 * MIB))
  gate.resolve()

  expect((await whole).bytes.equals(LARGE)).toBe(true)
  expect((await far).bytes.equals(LARGE.subarray(20 * MIB))).toBe(true)
  expect(new Set(written).size).toBe(written.length)
})

test('beyond sixty-four fills the next wait, and then run', async () => {
  await using house = await startFills()
  const gate = Promise.withResolvers<void>()
  const layers = Array.from({ length: 70 }, (_, seed) => seededBytes(seed + 300, 100_000))
  const sources = layers.map((layer) => new ScriptedSource('a', layer, () => ({ until: gate.promise })))
  const pulls = layers.map((layer, at) => pullWhole(house.join(layer, sources.slice(at, at + 1)), layer))
  const asked = () => sources.filter((source) => source.asked.length > 0).length
  await vi.waitFor(() => expect(asked()).toBe(64))

  gate.resolve()
  const got = await Promise.all(pulls)

  expect(got.every(({ bytes }, at) => layers[at]?.equals(bytes))).toBe(true)
  await vi.waitFor(() => expect(house.fills.count).toBe(0))
})
