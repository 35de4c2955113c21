import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  ageOf,
  anchorNow,
  anchorOf,
  freshnessOf,
  type Instant,
  spread,
  ttlSecondsOf,
} from '../../src/cache/freshness.ts'

const DAY_MS = 86_400_000
const WINDOWS = { fresh: 60_000, stale: 30_000, staleIfError: 600_000 }

for (const [ageMs, want, why] of [
  [0, 'fresh', 'it was just confirmed'],
  [59_999, 'fresh', 'its last fresh millisecond'],
  [60_000, 'stale', 'freshness ends at its bound'],
  [89_999, 'stale', 'its last stale millisecond'],
  [90_000, 'expired', 'so does staleness'],
  [659_999, 'expired', 'an outage may still show it: stale-if-error counts from the end of fresh'],
  [660_000, 'spent', 'not even an outage may'],
] as const) {
  test(`a resolution ${ageMs} ms old is ${want}: ${why}`, () => {
    expect(freshnessOf(ageMs, WINDOWS)).toBe(want)
  })
}

test('without any window nothing is fresh, and nothing outlives a failure', () => {
  expect(freshnessOf(0, { fresh: 0, stale: 0, staleIfError: 0 })).toBe('spent')
})

test('fault 52: a fresh window is drawn from 0.9 to 1.1 of the policy’s, evenly; none stays none', () => {
  const draws = [0, 0.25, 0.5, 0.75, 1].map((random) => spread(WINDOWS, random).fresh)

  expect(draws).toEqual([54_000, 57_000, 60_000, 63_000, 66_000])
  expect(spread(WINDOWS, 1)).toMatchObject({ stale: WINDOWS.stale, staleIfError: WINDOWS.staleIfError })
  expect(spread({ ...WINDOWS, fresh: 0 }, 1).fresh).toBe(0)
})

const START: Instant = { wallMs: 1_000_000 * DAY_MS, monotonicMs: 5_000 }
const later = (monotonicMs: number, wallMs: number): Instant => ({
  monotonicMs: START.monotonicMs + monotonicMs,
  wallMs: START.wallMs + wallMs,
})

for (const [now, ageMs, why] of [
  [later(10_000, 10_000), 10_000, 'both clocks agree'],
  [later(10_000, -2 * DAY_MS), 10_000, 'a step back makes nothing younger'],
  [later(10_000, 2 * DAY_MS), 90_000, 'a step forward makes us ask again, and no more'],
  [later(10_000, 70_000), 70_000, 'the host slept for a minute'],
  [later(3 * DAY_MS, 3 * DAY_MS), 3 * DAY_MS, 'time that did pass counts in full'],
] as const) {
  test(`fault 54: an age is ${ageMs} ms: ${why}`, () => {
    expect(ageOf(anchorNow(START), now, WINDOWS)).toBe(ageMs)
  })
}

test('fault 54: what was confirmed in the future, by a clock that was wrong, is asked for, and worth something in an outage', () => {
  for (const aheadMs of [1, 2 * DAY_MS]) {
    const anchor = anchorOf(START.wallMs + aheadMs, START, WINDOWS)

    expect(freshnessOf(ageOf(anchor, START, WINDOWS), WINDOWS)).toBe('expired')
  }
  expect(ageOf(anchorOf(START.wallMs, START, WINDOWS), START, WINDOWS)).toBe(0)
})

test('fault 54: however the wall clock steps, an age is never less than what passed, nor spent by a step alone', () => {
  const step = fc.integer({ min: -400 * DAY_MS, max: 400 * DAY_MS })
  fc.assert(
    fc.property(fc.nat(80_000), step, (passedMs, stepMs) => {
      const ageMs = ageOf(anchorNow(START), later(passedMs, passedMs + stepMs), WINDOWS)

      expect(ageMs).toBeGreaterThanOrEqual(passedMs)
      expect(freshnessOf(ageMs, WINDOWS)).not.toBe('spent')
    }),
  )
})

test('what is left of freshness is told in whole seconds, and is negative for what is stale', () => {
  expect([0, 59_500, 90_000].map((ageMs) => ttlSecondsOf(ageMs, WINDOWS))).toEqual([60, 0, -30])
})
