import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RangeSet } from '../../src/store/ranges.ts'

/** `..XX.X` holds bytes 2, 3 and 5. */
const pictureOf = (set: RangeSet, length: number): string =>
  Array.from({ length }, (_, offset) => (set.has(offset, offset + 1) ? 'X' : '.')).join('')

function setOf(picture: string): RangeSet {
  const set = new RangeSet()
  for (const { index, 0: run } of picture.matchAll(/X+/g)) set.add(index, index + run.length)
  return set
}

describe('adding a range makes one of what touches', () => {
  for (const [before, added, after, ranges, why] of [
    ['..........', [2, 4], '..XX......', 1, 'the first'],
    ['..XX......', [5, 7], '..XX.XX...', 2, 'apart, behind'],
    ['.....XX...', [1, 3], '.XX..XX...', 2, 'apart, before'],
    ['..XX......', [4, 6], '..XXXX....', 1, 'touches the end'],
    ['....XX....', [2, 4], '..XXXX....', 1, 'touches the start'],
    ['..XX..XX..', [4, 6], '..XXXXXX..', 1, 'closes a gap'],
    ['..XX..XX..', [3, 7], '..XXXXXX..', 1, 'overlaps both'],
    ['..XXXXXX..', [3, 5], '..XXXXXX..', 1, 'within what is held'],
    ['.X.X.X.X..', [0, 9], 'XXXXXXXXX.', 1, 'covers all'],
    ['.X.X.X.X..', [2, 6], '.XXXXX.X..', 2, 'covers some, touches two'],
    ['..XX......', [5, 5], '..XX......', 1, 'is empty'],
  ] as const) {
    test(`${before} + ${added.join('–')} = ${after}: ${why}`, () => {
      const set = setOf(before)

      set.add(added[0], added[1])

      expect(pictureOf(set, before.length)).toBe(after)
      expect(set.ranges).toHaveLength(ranges)
      expect(set.bytes).toBe([...after].filter((each) => each === 'X').length)
    })
  }
})

describe('what is asked of a set', () => {
  for (const [picture, offset, end, next] of [
    ['..XXX..X..', 0, 0, 2],
    ['..XXX..X..', 2, 5, 2],
    ['..XXX..X..', 4, 5, 4],
    ['..XXX..X..', 5, 5, 7],
    ['..XXX..X..', 7, 8, 7],
    ['..XXX..X..', 8, 8, undefined],
    ['..........', 3, 3, undefined],
  ] as const) {
    test(`${picture}: the run at ${offset} ends at ${end}, the next held byte is ${next}`, () => {
      const set = setOf(picture)

      expect(set.endFrom(offset)).toBe(end)
      expect(set.findNext(offset)).toBe(next)
    })
  }

  for (const [picture, end, gaps] of [
    [
      '..XXX..X..',
      10,
      [
        { start: 0, end: 2 },
        { start: 5, end: 7 },
        { start: 8, end: 10 },
      ],
    ],
    [
      '..XXX..X..',
      8,
      [
        { start: 0, end: 2 },
        { start: 5, end: 7 },
      ],
    ],
    ['..XXX..X..', 4, [{ start: 0, end: 2 }]],
    ['XXXX......', 4, []],
    ['..........', 0, []],
    ['..........', 3, [{ start: 0, end: 3 }]],
  ] as const) {
    test(`${picture}: below ${end} there are ${gaps.length} gaps`, () => {
      expect(setOf(picture).gaps(end)).toEqual(gaps)
    })
  }

  for (const [start, end] of [
    [-1, 2],
    [3, 2],
    [0.5, 2],
    [0, Number.NaN],
    [0, 2 ** 53],
  ] as const) {
    test(`${start} to ${end} is no range`, () => {
      expect(() => new RangeSet().add(start, end)).toThrow(RangeError)
    })
  }
})

test('after any adds in any order a set says what a bitmap says, sorted, apart and without empty ranges', () => {
  const length = 64
  const range = fc.tuple(fc.nat(length), fc.nat(length)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)
  fc.assert(
    fc.property(fc.array(range, { maxLength: 40 }), fc.nat(length), (adds, asked) => {
      const set = new RangeSet()
      const bitmap = new Array<boolean>(length).fill(false)
      for (const [start, end] of adds) {
        set.add(start, end)
        bitmap.fill(true, start, end)
      }

      let runEnd = asked
      while (bitmap[runEnd]) runEnd += 1
      const next = bitmap.indexOf(true, asked)
      expect(pictureOf(set, length)).toBe(bitmap.map((held) => (held ? 'X' : '.')).join(''))
      expect(set.bytes).toBe(bitmap.filter(Boolean).length)
      expect(set.endFrom(asked)).toBe(runEnd)
      expect(set.findNext(asked)).toBe(next === -1 ? undefined : next)
      const below = bitmap.slice(0, asked)
      const missing = set
        .gaps(asked)
        .flatMap(({ start, end }) => Array.from({ length: end - start }, (_, n) => start + n))
      expect(missing).toEqual(below.flatMap((held, offset) => (held ? [] : [offset])))
      for (const [place, { start, end }] of set.ranges.entries()) {
        expect(start).toBeLessThan(end)
        expect(start).toBeGreaterThan(set.ranges[place - 1]?.end ?? -1)
      }
      expect(RangeSet.of(set.ranges).ranges).toEqual(set.ranges)
    }),
  )
})
