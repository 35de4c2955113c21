import { EventEmitter, once } from 'node:events'
import { expect, test, vi } from 'vitest'
import { type Clock, systemOutside } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { Lifetime } from '../../src/cli/lifetime.ts'

/** A process that tells with which status it was to end. */
class ProcessByHand extends EventEmitter {
  exit(status: number): void {
    this.emit('ended', status)
  }
}

const { clock } = systemOutside

function setUp(stop: () => Promise<void>, clock: Clock = systemOutside.clock) {
  const process = new ProcessByHand()
  const log = { ...silentLog, error: vi.fn(), warn: vi.fn(), info: vi.fn() }
  const reload = vi.fn()
  const lifetime = new Lifetime(process, log, clock)
  lifetime.own({ stop }, reload)
  return { process, log, lifetime, reload }
}

test('fault 84: the first SIGTERM drains, and the process then ends with 0', async () => {
  const gate = Promise.withResolvers<void>()
  const stop = vi.fn(() => gate.promise)
  const { process } = setUp(stop)
  const ended = once(process, 'ended')

  process.emit('SIGTERM')
  expect(stop).toHaveBeenCalledOnce()
  gate.resolve()

  expect(await ended).toEqual([0])
})

test('fault 85: the second signal ends the process at once', async () => {
  const stop = vi.fn(() => new Promise<void>(() => undefined))
  const { process } = setUp(stop)
  const ended = once(process, 'ended')

  process.emit('SIGTERM')
  process.emit('SIGINT')

  expect(await ended).toEqual([1])
  expect(stop).toHaveBeenCalledOnce()
})

test('fault 85: a stop that does not end is ended after 40 s', async () => {
  const waits: { readonly ms: number; readonly act: () => void }[] = []
  const after = (ms: number, act: () => void) => {
    waits.push({ ms, act })
    return () => undefined
  }
  const byHand = { wallMs: () => 0, monotonicMs: () => 0, sleep: () => Promise.resolve(), after }
  const { process } = setUp(() => new Promise<void>(() => undefined), byHand)
  const ended = once(process, 'ended')

  process.emit('SIGTERM')
  expect(waits.map(({ ms }) => ms)).toEqual([40_000])
  waits[0]?.act()

  expect(await ended).toEqual([1])
})

test('a signal before anything is served ends the process', async () => {
  const process = new ProcessByHand()
  new Lifetime(process, silentLog, clock)
  const ended = once(process, 'ended')

  process.emit('SIGTERM')

  expect(await ended).toEqual([0])
})

test('a stop that fails is told, and ends with 1', async () => {
  const { process, log } = setUp(() => Promise.reject(new Error('books')))
  const ended = once(process, 'ended')

  process.emit('SIGTERM')

  expect(await ended).toEqual([1])
  expect(log.error).toHaveBeenCalledOnce()
})

test('fault 41: a rejection that nobody owned, or a lost socket, is told and the process goes on', () => {
  const { process, log } = setUp(() => Promise.resolve())
  const ended = vi.fn()
  process.on('ended', ended)

  process.emit('unhandledRejection', new Error('nobody'))
  process.emit('uncaughtException', Object.assign(new Error('reset'), { code: 'ECONNRESET' }))

  expect(log.error).toHaveBeenCalledTimes(2)
  expect(ended).not.toHaveBeenCalled()
})

test('fault 41: an error that nobody caught is told with its stack, and the process ends to be started anew', async () => {
  const { process, log } = setUp(() => Promise.resolve())
  const ended = once(process, 'ended')

  process.emit('uncaughtException', new Error('broken'))

  expect(await ended).toEqual([1])
  expect(log.error.mock.calls[0]?.[0]).toMatchObject({ stack: expect.stringContaining('lifetime.test.ts') })
})

test('SIGHUP has the configuration read again; what goes wrong then is told and costs nothing', () => {
  const { process, log, reload } = setUp(() => Promise.resolve())
  const ended = vi.fn()
  process.on('ended', ended)

  process.emit('SIGHUP')
  reload.mockImplementation(() => {
    throw new Error('a broken file')
  })
  process.emit('SIGHUP')

  expect(reload).toHaveBeenCalledTimes(2)
  expect(log.error).toHaveBeenCalledOnce()
  expect(ended).not.toHaveBeenCalled()
})

test('SIGHUP while nothing is served yet, and while it drains, does nothing', () => {
  const early = new ProcessByHand()
  new Lifetime(early, silentLog, clock)
  early.emit('SIGHUP')
  const { process, reload } = setUp(() => new Promise<void>(() => undefined))

  process.emit('SIGTERM')
  process.emit('SIGHUP')

  expect(reload).not.toHaveBeenCalled()
})
