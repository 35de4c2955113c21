import { expect, onTestFinished, test, vi } from 'vitest'
import { LoopLag } from '../../src/base/loop-lag.ts'

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
