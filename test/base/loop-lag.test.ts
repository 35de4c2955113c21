import { expect, onTestFinished, test, vi } from 'vitest'
import type { Log } from '../../src/base/log.ts'
import { LagWatch, LoopLag } from '../../src/base/loop-lag.ts'
import { HandClock } from '../cache/hand-clock.ts'

const STOPPED_MS = 300

function stopTheLoop(): void {
  const untilMs = performance.now() + STOPPED_MS
  while (performance.now() < untilMs);
}

test('a loop that stands still is told as late, to each of both readers', async () => {
  const lag = new LoopLag()
  onTestFinished(() => lag[Symbol.dispose]())
  let looks = 0
  let worstMs: readonly number[] = []

  await vi.waitFor(
    () => {
      // A sampler needs a tick before it can see one that is late: stop at every other look, read at the next.
      looks += 1
      if (looks % 2 === 0) stopTheLoop()
      else worstMs = [lag.takeMaxMs(), lag.takeQuantilesMs().at(-1)?.[1] ?? 0]
      expect(Math.min(...worstMs)).toBeGreaterThan(STOPPED_MS / 2)
    },
    { timeout: 10_000, interval: 250 },
  )
})

test('a loop of which nothing is known yet is not late', () => {
  const lag = new LoopLag()
  onTestFinished(() => lag[Symbol.dispose]())

  expect(lag.takeQuantilesMs().map(([, ms]) => ms)).toEqual([0, 0, 0])
  expect(lag.takeMaxMs()).toBe(0)
})

test('a loop that was late is told in the log, once a minute, and one that is in time is not', async () => {
  const clock = new HandClock()
  const told: unknown[] = []
  const watch = new LagWatch(clock, { warn: (facts: unknown) => void told.push(facts) } as unknown as Log)
  onTestFinished(() => watch[Symbol.dispose]())

  clock.advance(60_000)
  const before = told.length
  let looks = 0
  await vi.waitFor(
    () => {
      looks += 1
      if (looks % 2 === 0) stopTheLoop()
      else clock.advance(60_000)
      expect(told.length).toBeGreaterThan(before)
    },
    { timeout: 10_000, interval: 250 },
  )

  expect(before).toBe(0)
  expect(told.at(-1)).toEqual({ lateMs: expect.any(Number) })
  watch[Symbol.dispose]()
  expect(clock.timers).toBe(0)
})
