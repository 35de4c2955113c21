import { expect, test } from 'vitest'
import { OciError } from '../../src/base/errors.ts'
import { keyOf } from '../../src/cache/negatives.ts'
import { SharedAsks } from '../../src/cache/shared-asks.ts'
import { parseRepositoryPath, type RegistryHost } from '../../src/oci/names.ts'
import { HandClock, outsideOf } from './hand-clock.ts'

const repository = { host: 'registry.test' as RegistryHost, path: parseRepositoryPath('library/a') }
const LONG_MS = 60_000
const NEVER = new AbortController().signal

function newAsks() {
  const clock = new HandClock()
  const asks = new SharedAsks<string>(outsideOf(clock), NEVER)
  const ended = Promise.withResolvers<string>()
  let asked = 0
  const ask = () => {
    asked += 1
    return ended.promise
  }
  return { clock, asks, ended, ask, asked: () => asked }
}

test('fault 46: five hundred who wait are released together by one answer', async () => {
  const { asks, ended, ask, asked } = newAsks()
  const waiting = Array.from({ length: 500 }, () => asks.join('key', ask, LONG_MS))
  ended.resolve('answer')

  const ends = await Promise.all(waiting)

  expect(asked()).toBe(1)
  expect(ends.filter((end) => end?.collapsed)).toHaveLength(499)
  expect(asks.waiters).toBe(0)
})

test('fault 44: a failure reaches each who waits as his own copy, and the key is free the next turn', async () => {
  const { asks, ended, ask, asked } = newAsks()
  const waiting = [1, 2, 3].map(() => asks.join('key', ask, LONG_MS).catch((error: unknown) => error))
  ended.reject(new OciError('upstreamFailed', 'no', { fault: 'cut' }))

  const errors = await Promise.all(waiting)

  expect(new Set(errors).size).toBe(3)
  for (const error of errors) expect(error).toMatchObject({ reason: 'upstreamFailed', fault: 'cut', message: 'no' })
  await expect(asks.join('key', () => Promise.resolve('new'), LONG_MS)).resolves.toMatchObject({ value: 'new' })
  expect(asked()).toBe(1)
})

test('fault 44: whoever comes after the answer has it asked anew', async () => {
  const { asks, ended, ask } = newAsks()
  const first = asks.join('key', ask, LONG_MS)
  ended.resolve('old')
  await first

  await expect(asks.join('key', () => Promise.resolve('new'), LONG_MS)).resolves.toEqual({
    value: 'new',
    collapsed: false,
  })
})

test('fault 44: the one who started it leaves; the others get the answer', async () => {
  const { asks, ended, ask } = newAsks()
  const leaving = new AbortController()
  const starter = asks.join('key', ask, LONG_MS, leaving.signal).catch((error: unknown) => error)
  const other = asks.join('key', ask, LONG_MS)
  leaving.abort('left')
  ended.resolve('answer')

  expect(await starter).toBe('left')
  expect(await other).toEqual({ value: 'answer', collapsed: true })
})

test('whoever has waited long enough goes on without an answer, and the ask goes on without him', async () => {
  const { clock, asks, ended, ask } = newAsks()
  const short = asks.join('key', ask, 3_000)
  const long = asks.join('key', ask, LONG_MS)
  clock.advance(3_000)

  expect(await short).toBeUndefined()
  expect(asks.runningMs('key')).toBe(3_000)
  ended.resolve('answer')
  expect(await long).toMatchObject({ value: 'answer' })
})

test('fault 45: an ask that never ends is stopped, and its key is free', async () => {
  const { clock, asks } = newAsks()
  const untilStopped = ({ signal }: { signal: AbortSignal }) =>
    new Promise<string>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  const waiting = asks.join('key', untilStopped, 10 * LONG_MS).catch((error: unknown) => error)
  await Promise.resolve() // it starts a turn later
  clock.advance(120_000)

  expect(await waiting).toMatchObject({ reason: 'upstreamSlow' })
  expect(asks.runningMs('key')).toBe(0)
})

test('two thousand may wait for one answer; the next is told to come again', async () => {
  const { asks, ended, ask } = newAsks()
  const waiting = Array.from({ length: 2_000 }, () => asks.join('key', ask, LONG_MS))

  await expect(asks.join('key', ask, LONG_MS)).rejects.toMatchObject({ reason: 'overloaded', retryAfterMs: 5_000 })
  ended.resolve('answer')
  expect(await Promise.all(waiting)).toHaveLength(2_000)
})

test('an answer that was made untrue on its way is told so, and whoever comes now has it asked anew', async () => {
  const { asks } = newAsks()
  const key = keyOf(repository, 'key')
  const released = Promise.withResolvers<void>()
  const first = asks.join(
    key,
    async ({ isCurrent }) => {
      await released.promise
      return `current: ${isCurrent()}`
    },
    LONG_MS,
  )
  asks.forget(repository, 'key')
  const second = asks.join(key, () => Promise.resolve('anew'), LONG_MS)
  released.resolve()

  expect(await first).toMatchObject({ value: 'current: false' })
  expect(await second).toEqual({ value: 'anew', collapsed: false })
})

test('a failure that nobody waits for harms nobody', async () => {
  const { asks } = newAsks()
  asks.begin('key', () => Promise.reject(new Error('nobody hears this')))
  await new Promise((resolve) => setImmediate(resolve))

  expect(asks.runningMs('key')).toBe(0)
})
