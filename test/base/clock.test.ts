import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'

const { clock } = systemOutside
const DAY_MS = 86_400_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] })
})

afterEach(() => {
  vi.useRealTimers()
})

test('fault 55: a wait of 30 days, longer than a timer of Node holds, ends after 30 days and not at once', async () => {
  const act = vi.fn()
  clock.after(30 * DAY_MS, act)

  await vi.advanceTimersByTimeAsync(25 * DAY_MS)
  expect(act).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(5 * DAY_MS)
  expect(act).toHaveBeenCalledOnce()
})

test('fault 55: such a wait that is cancelled after its first timer was renewed never ends', async () => {
  const act = vi.fn()
  const cancel = clock.after(60 * DAY_MS, act)

  await vi.advanceTimersByTimeAsync(30 * DAY_MS)
  cancel()
  await vi.advanceTimersByTimeAsync(60 * DAY_MS)
  expect(act).not.toHaveBeenCalled()
  expect(vi.getTimerCount()).toBe(0)
})

test('fault 54: a wall clock that steps by two days moves no wait', async () => {
  const act = vi.fn()
  clock.after(1_000, act)

  vi.setSystemTime(Date.now() + 2 * DAY_MS)
  expect(act).not.toHaveBeenCalled()
  vi.setSystemTime(Date.now() - 4 * DAY_MS)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(act).toHaveBeenCalledOnce()
})

test('fault 54: time within the process goes on as the wall clock steps back', async () => {
  const [wallMs, monotonicMs] = [clock.wallMs(), clock.monotonicMs()]

  vi.setSystemTime(Date.now() - 2 * DAY_MS)
  await vi.advanceTimersByTimeAsync(10)
  expect(clock.wallMs()).toBeLessThan(wallMs)
  expect(clock.monotonicMs()).toBeGreaterThan(monotonicMs)
})

test('a sleep ends at its time, or at once when its signal aborts, and leaves no timer', async () => {
  const leave = new AbortController()
  const ended: string[] = []
  void clock.sleep(1_000).then(() => ended.push('slept'))
  void clock.sleep(60_000, leave.signal).then(() => ended.push('left'))

  leave.abort()
  await vi.advanceTimersByTimeAsync(0)
  expect(ended).toEqual(['left'])
  await vi.advanceTimersByTimeAsync(1_000)
  expect(ended).toEqual(['left', 'slept'])
  expect(vi.getTimerCount()).toBe(0)
})

test('a sleep whose signal aborted before ends at once', async () => {
  await clock.sleep(60_000, AbortSignal.abort())

  expect(vi.getTimerCount()).toBe(0)
})

test('a wait of nothing, or of less, ends in the next turn', async () => {
  const act = vi.fn()
  clock.after(0, act)
  clock.after(-5, act)

  expect(act).not.toHaveBeenCalled()
  await vi.advanceTimersByTimeAsync(1)
  expect(act).toHaveBeenCalledTimes(2)
})
