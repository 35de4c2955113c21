import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { OciError } from '../../src/base/errors.ts'
import { KIB, MIB } from '../../src/base/units.ts'
import { TAIL_BYTES } from '../../src/cache/fill.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { seededBytes } from '../support/images.ts'
import { pull, pullWhole, ScriptedSource, startFills } from './fill-support.ts'

const LAYER = seededBytes(7, 6 * MIB + 123)

test('fault 43: two hundred readers of one cold digest cost one upstream request and its bytes once', async () => {
  await using house = await startFills()
  const layer = LAYER.subarray(0, MIB + 77)
  const source = new ScriptedSource('a', layer, undefined, 64 * KIB)

  const got = await Promise.all(Array.from({ length: 200 }, () => pullWhole(house.join(layer, [source]), layer)))

  expect(got.every(({ bytes, error }) => !error && bytes.equals(layer))).toBe(true)
  expect(source.asked).toEqual([{ start: 0, end: undefined }])
  expect(source.sentBytes).toBe(layer.length)
})

test('fault 1: a source that cuts is followed by the next, from the byte where it stopped', async () => {
  await using house = await startFills()
  const first = new ScriptedSource('a', LAYER, () => ({ cutAfter: MIB + 7 }))
  const second = new ScriptedSource('b', LAYER)

  const { bytes, error } = await pullWhole(house.join(LAYER, [first, second]), LAYER)

  expect(error).toBeUndefined()
  expect(bytes.equals(LAYER)).toBe(true)
  expect(second.asked[0]?.start).toBe(MIB + 7)
  expect(first.sentBytes + second.sentBytes).toBe(LAYER.length)
})

test('fault 1: a source that cuts at every piece is resumed each time, and no byte is fetched twice', async () => {
  await using house = await startFills()
  const source = new ScriptedSource('a', LAYER, () => ({ cutAfter: 64 * KIB }), 64 * KIB)

  const { bytes } = await pullWhole(house.join(LAYER, [source]), LAYER)

  expect(bytes.equals(LAYER)).toBe(true)
  expect(source.sentBytes).toBe(LAYER.length)
})

test('a source that fails without progress is given up after its attempts, and the error is the client’s', async () => {
  await using house = await startFills()
  const source = new ScriptedSource('a', LAYER, () => ({ error: new OciError('upstreamFailed', 'down') }))
  const fill = house.join(LAYER, [source])

  const { error } = await pullWhole(fill, LAYER)

  expect(error).toMatchObject({ reason: 'upstreamFailed' })
  expect(await fill.told).toMatchObject({ at: 'ended' })
  expect(source.asked.length).toBe(2)
})

test('absent at one source and refused at another is refused; absent at all is absent', async () => {
  await using house = await startFills()
  const absent = new ScriptedSource('a', LAYER, () => ({ at: 'absent' }))
  const denied = new ScriptedSource('b', LAYER, () => ({ at: 'denied' }))

  const refused = await house.join(LAYER, [absent, denied]).ended
  const missing = await house.join(LAYER, [absent]).ended

  expect(refused).toEqual({ at: 'failed', why: { at: 'denied' } })
  expect(missing).toEqual({ at: 'failed', why: { at: 'absent' } })
})

for (const flipAt of [0, LAYER.length >> 1, LAYER.length - 1]) {
  test(`fault 4: a bit flipped at ${flipAt} never leaves as a whole body and is not kept; the next source is right`, async () => {
    await using house = await startFills()
    const liar = new ScriptedSource('a', LAYER, () => ({ flipAt }))
    const honest = new ScriptedSource('b', LAYER)
    const digest = digestOf(LAYER)

    const first = await pullWhole(house.join(LAYER, [liar, honest]), LAYER)
    await house.fills.find(digest)?.ended
    const later = await pullWhole(house.join(LAYER, [liar, honest]), LAYER)

    expect(first.error).toMatchObject({ fault: 'digest' })
    expect(first.bytes.length).toBeLessThanOrEqual(LAYER.length - TAIL_BYTES)
    expect(later.bytes.equals(LAYER)).toBe(true)
    expect(await readdir(join(house.folder, 'quarantine'))).toHaveLength(1)
    expect(liar.asked).toHaveLength(1)
  })
}

test('fault 4: where one of two sources lies and the other cuts, each is asked alone, and the blob heals', async () => {
  await using house = await startFills()
  const cutting = new ScriptedSource('a', LAYER, () => ({ cutAfter: 2 * MIB }))
  const lying = new ScriptedSource('b', LAYER, () => ({ flipAt: LAYER.length - 100 }))
  const ends: string[] = []

  for (let turn = 0; turn < 3 && ends.at(-1) !== 'kept'; turn++) {
    ends.push((await house.join(LAYER, [cutting, lying]).ended).at)
  }

  expect(ends).toEqual(['mismatch', 'kept'])
  expect((await house.held(digestOf(LAYER)))?.equals(LAYER)).toBe(true)
})

test('fault 19: a range reader open at the mismatch is cut, and the next fill is from another source', async () => {
  await using house = await startFills()
  const liar = new ScriptedSource('a', LAYER, () => ({ flipAt: 5 * MIB }))
  const honest = new ScriptedSource('b', LAYER)
  const gate = Promise.withResolvers<boolean>()
  const fill = house.join(LAYER, [liar, honest])

  const open = pull(fill, { start: 10, end: LAYER.length }, () => gate.promise)
  await fill.ended
  gate.resolve(true)
  const cut = await open
  const later = await pullWhole(house.join(LAYER, [liar, honest]), LAYER)

  expect(cut.error).toMatchObject({ fault: 'digest' })
  expect(later.bytes.equals(LAYER)).toBe(true)
})

test('a source that tells another size than the manifest lies, and gets no second turn', async () => {
  await using house = await startFills()
  const liar = new ScriptedSource('a', LAYER, () => ({ sizeSaid: LAYER.length - 1 }))
  const honest = new ScriptedSource('b', LAYER)

  const { bytes } = await pullWhole(house.join(LAYER, [liar, honest]), LAYER)

  expect(bytes.equals(LAYER)).toBe(true)
  expect(liar.sentBytes).toBe(0)
  expect(liar.asked).toHaveLength(1)
})

test('fault 3: a body longer than its size is cut at the size, and is right', async () => {
  await using house = await startFills()
  const source = new ScriptedSource('a', LAYER, () => ({ sizeSaid: 'none', surplus: 4096 }))

  const { bytes, error } = await pullWhole(house.join(LAYER, [source]), LAYER)

  expect(error).toBeUndefined()
  expect(bytes.equals(LAYER)).toBe(true)
})

test('fault 2: where nobody tells a size the body’s end is it, and the digest judges', async () => {
  await using house = await startFills()
  const cut = new ScriptedSource('a', LAYER, () => ({ sizeSaid: 'none', cutAfter: MIB }))
  const whole = new ScriptedSource('b', LAYER, () => ({ sizeSaid: 'none' }))

  const ended = await house.join(LAYER, [cut, whole], {}, false).ended
  const again = house.join(LAYER, [cut, whole], {}, false)
  const right = await again.ended

  expect(ended).toMatchObject({ at: 'mismatch' })
  expect(right).toEqual({ at: 'kept' })
  expect(again.sizeBytes).toBe(LAYER.length)
})

test('fault 20: a client that leaves changes nothing: the fill goes on to its end', async () => {
  await using house = await startFills()
  const source = new ScriptedSource('a', LAYER)
  const fill = house.join(LAYER, [source])

  await pullWhole(fill, LAYER, async () => false)
  const end = await fill.ended

  expect(end).toEqual({ at: 'kept' })
  expect(fill.readers).toBe(0)
  expect((await house.held(digestOf(LAYER)))?.equals(LAYER)).toBe(true)
})

test('fault 47: readers at every speed get the right bytes, and a slow one holds up nobody', async () => {
  await using house = await startFills()
  const source = new ScriptedSource('a', LAYER)
  const fill = house.join(LAYER, [source])
  const gate = Promise.withResolvers<boolean>()

  const slow = pullWhole(fill, LAYER, () => gate.promise)
  const fast = await Promise.all(Array.from({ length: 20 }, () => pullWhole(fill, LAYER)))
  gate.resolve(true)

  expect(fast.every(({ bytes }) => bytes.equals(LAYER))).toBe(true)
  expect((await slow).bytes.equals(LAYER)).toBe(true)
  expect(source.sentBytes).toBe(LAYER.length)
})

test('eight closed ranges of a cold blob cost its bytes once', async () => {
  await using house = await startFills()
  const large = seededBytes(9, 96 * MIB)
  const source = new ScriptedSource('a', large)
  const part = large.length / 8

  const got = await Promise.all(
    Array.from({ length: 8 }, (_, index) => {
      const span = { start: index * part, end: (index + 1) * part }
      const fill = house.join(large, [source], { offset: span.start, end: span.end, isRange: true })
      return pull(fill, span)
    }),
  )

  expect(Buffer.concat(got.map(({ bytes }) => bytes)).equals(large)).toBe(true)
  expect(source.sentBytes).toBe(large.length)
})

for (const chunkBytes of [9 * MIB, 10 * MIB]) {
  test(`parts of ${chunkBytes / MIB} MiB read from open-ended ranges, eight at a time: no more than 1.05 × is asked for`, async () => {
    await using house = await startFills()
    const large = seededBytes(12, 64 * MIB)
    const source = new ScriptedSource('a', large, undefined, 256 * KIB)
    const right: boolean[] = []
    let next = 0
    const work = async () => {
      for (let start = chunkBytes * next++; start < large.length; start = chunkBytes * next++) {
        const fill = house.join(large, [source], { offset: start, isRange: true })
        const end = Math.min(start + chunkBytes, large.length)
        let bytes = 0
        const enough = async (piece: Buffer) => {
          bytes += piece.length
          return bytes < chunkBytes
        }
        const got = await pull(fill, { start, end: large.length }, enough)
        right.push(got.bytes.subarray(0, end - start).equals(large.subarray(start, end)))
      }
    }

    await Promise.all(Array.from({ length: 8 }, work))
    await house.fills.find(digestOf(large))?.ended

    expect(right).toEqual(Array(Math.ceil(large.length / chunkBytes)).fill(true))
    const askedBytes = source.asked.reduce((sum, { start, end = large.length }) => sum + end - start, 0)
    expect(askedBytes).toBeLessThanOrEqual(large.length * 1.05)
  })
}

test('a range far ahead is served while the front stands still, and the gaps are closed after', async () => {
  await using house = await startFills()
  const large = seededBytes(5, 40 * MIB)
  const gate = Promise.withResolvers<void>()
  const source = new ScriptedSource('a', large, (turn) => (turn === 0 ? { holdAfter: MIB, until: gate.promise } : {}))
  const fill = house.join(large, [source])
  const whole = pullWhole(fill, large)

  const far = await pull(fill, { start: 30 * MIB, end: 31 * MIB })
  gate.resolve()

  expect(far.bytes.equals(large.subarray(30 * MIB, 31 * MIB))).toBe(true)
  expect((await whole).bytes.equals(large)).toBe(true)
  expect(await fill.ended).toEqual({ at: 'kept' })
  expect(source.sentBytes).toBeLessThanOrEqual(large.length * 1.05)
})

test('fault 6: a source that ignores ranges gets one stream from the front, and far readers wait for it', async () => {
  await using house = await startFills()
  const large = seededBytes(6, 40 * MIB)
  const source = new ScriptedSource('a', large, () => ({ ignoresRange: true }))
  const fill = house.join(large, [source])
  const whole = pullWhole(fill, large)

  const far = await pull(fill, { start: 30 * MIB, end: 40 * MIB })

  expect(far.bytes.equals(large.subarray(30 * MIB))).toBe(true)
  expect((await whole).bytes.equals(large)).toBe(true)
})

test('fault 27: one byte of a cold blob costs one stream, and then the one fill', async () => {
  await using house = await startFills()
  const source = new ScriptedSource('a', LAYER)
  const first = { offset: 5 * MIB, end: 5 * MIB + 1, isRange: true }

  const got = await Promise.all(
    Array.from({ length: 20 }, () => pull(house.join(LAYER, [source], first), { start: 5 * MIB, end: 5 * MIB + 1 })),
  )
  await house.fills.find(digestOf(LAYER))?.ended

  expect(got.every(({ bytes }) => bytes.equals(LAYER.subarray(5 * MIB, 5 * MIB + 1)))).toBe(true)
  expect(source.asked.length).toBeLessThanOrEqual(3)
  expect(source.sentBytes).toBe(LAYER.length)
})

test('a stopped fill is resumed after a start from what its spool holds', async () => {
  await using house = await startFills()
  const large = seededBytes(8, 24 * MIB)
  const gate = Promise.withResolvers<void>()
  const first = new ScriptedSource('a', large, () => ({ holdAfter: 16 * MIB, until: gate.promise }))
  const fill = house.join(large, [first])
  await pull(fill, { start: 0, end: 16 * MIB })

  const stopped = house.restart()
  gate.resolve()
  await stopped
  const second = new ScriptedSource('a', large)
  const { bytes } = await pullWhole(house.join(large, [second]), large)

  expect(bytes.equals(large)).toBe(true)
  expect(second.sentBytes).toBe(8 * MIB)
})

test('an empty blob is whole without a byte', async () => {
  await using house = await startFills()
  const empty = Buffer.alloc(0)

  const end = await house.join(empty, [new ScriptedSource('a', empty)]).ended

  expect(end).toEqual({ at: 'kept' })
})

test('a fill without readers beyond the sixteenth stops, the one left first; its spool is kept', async () => {
  await using house = await startFills()
  const gate = Promise.withResolvers<void>()
  const layers = Array.from({ length: 17 }, (_, seed) => seededBytes(seed + 100, 3 * MIB))
  const fills = layers.map((layer) => {
    return house.join(layer, [new ScriptedSource('a', layer, () => ({ holdAfter: MIB, until: gate.promise }))])
  })

  for (const fill of fills) await pull(fill, { start: 0, end: MIB })
  const end = await fills[0]?.ended
  gate.resolve()

  expect(end).toEqual({ at: 'stopped' })
  expect(await Promise.all(fills.slice(1).map((fill) => fill.ended))).toEqual(Array(16).fill({ at: 'kept' }))
})
