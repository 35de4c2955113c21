import fc from 'fast-check'
import { expect, test } from 'vitest'
import { KIB, MIB } from '../../src/base/units.ts'
import { seededBytes } from '../support/images.ts'
import { pull, pullWhole, ScriptedSource, startFills } from './fill-support.ts'

const SIZE = 20 * MIB + 321
const BLOB = seededBytes(11, SIZE)

const spans = fc.array(
  fc.record({
    start: fc.integer({ min: 0, max: SIZE - 1 }),
    length: fc.integer({ min: 1, max: SIZE }),
    leavesAfter: fc.option(fc.integer({ min: 1, max: 20 })),
  }),
  { minLength: 1, maxLength: 6 },
)
const turns = fc.array(
  fc.record({
    cutAfter: fc.option(fc.integer({ min: 64 * KIB, max: SIZE }), { nil: undefined }),
    ignoresRange: fc.boolean(),
  }),
  { maxLength: 6 },
)

test('whatever readers want and sources do, each reader gets its bytes, and what is kept is the blob', async () => {
  await fc.assert(
    fc.asyncProperty(spans, turns, fc.boolean(), fc.boolean(), async (wanted, acts, fits, isSizeKnown) => {
      await using house = await startFills(fits ? 1024 * MIB : 8 * MIB)
      const source = new ScriptedSource('a', BLOB, (turn) => withoutUndefined(acts[turn] ?? {}), 256 * KIB)
      const fillOf = () => house.join(BLOB, [source], {}, isSizeKnown)

      const whole = pullWhole(fillOf(), BLOB)
      const parts = wanted.map(async ({ start, length, leavesAfter }) => {
        const span = { start, end: Math.min(start + length, SIZE) }
        let pieces = 0
        const got = await pull(fillOf(), span, async () => leavesAfter === null || ++pieces < leavesAfter)
        return { span, got, leaves: leavesAfter !== null }
      })

      const first = await whole
      expect(first.error).toBeUndefined()
      expect(first.bytes.equals(BLOB)).toBe(true)
      for (const { span, got, leaves } of await Promise.all(parts)) {
        expect(got.error).toBeUndefined()
        const right = BLOB.subarray(span.start, leaves ? span.start + got.bytes.length : span.end)
        expect(got.bytes.equals(right)).toBe(true)
      }
    }),
    { numRuns: 25 },
  )
})

const withoutUndefined = (act: { cutAfter: number | undefined; ignoresRange: boolean } | object) =>
  Object.fromEntries(Object.entries(act).filter(([, value]) => value !== undefined))
