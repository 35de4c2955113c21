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
  let healthMs = 0
  let scrapedMs = 0

  await vi.waitFor(
    () => {
      healthMs = Math.max(healthMs, lag.takeMaxMs())
      scrapedMs = Math.max(scrapedMs, lag.takeQuantilesMs().at(-1)?.[1] ?? 0)
      stopTheLoop() // what it costs is seen at the next look
      expect(Math.min(healthMs, scrapedMs)).toBeGreaterThan(STOPPED_MS / 2)
    },
    { timeout: 10_000, interval: 120 },
  )
})

test('a loop of which nothing is known yet is not late', () => {
  const lag = new LoopLag()
  onTestFinished(() => lag[Symbol.dispose]())

  expect(lag.takeQuantilesMs().map(([, ms]) => ms)).toEqual([0, 0, 0])
  expect(lag.takeMaxMs()).toBe(0)
})
