import { expect, test, vi } from 'vitest'
import { type AccessEntry, AccessLog, type AccessSink } from '../../src/base/access-log.ts'
import type { Clock } from '../../src/base/clock.ts'

const ENTRY: AccessEntry = {
  method: 'GET',
  path: '/v2/library/alpine/manifests/3.20',
  status: 200,
  route: 'manifest',
  outcome: 'hit',
  upstream: 'docker.io',
  repository: 'library/alpine',
  digest: `sha256:${'a'.repeat(64)}`,
  bytes: 1536,
  ms: 0.25,
  from: '::1',
}

/** A clock whose timers run when they are told to. */
function clockByHand() {
  const due = new Set<() => void>()
  const clock: Clock = {
    wallMs: () => 1_700_000_000_123,
    monotonicMs: () => 0,
    sleep: () => Promise.resolve(),
    after: (_ms, act) => {
      due.add(act)
      return () => void due.delete(act)
    },
  }
  const tick = () => {
    for (const act of [...due]) {
      due.delete(act)
      act()
    }
  }
  return { clock, tick, waiting: () => due.size }
}

function setUp(sink?: AccessSink, isPretty = false) {
  const batches: string[] = []
  const hand = clockByHand()
  const onLost = vi.fn()
  const keep: AccessSink = async (text) => void batches.push(text)
  const log = new AccessLog(sink ?? keep, { clock: hand.clock, isPretty, onLost })
  return { log, batches, onLost, ...hand }
}

test('a request is one line that a machine can read', async () => {
  const { log, batches } = setUp()

  log.write(ENTRY)
  await log[Symbol.asyncDispose]()

  expect(JSON.parse(batches.join(''))).toEqual({
    level: 'info',
    time: '2023-11-14T22:13:20.123Z',
    msg: 'answered',
    ...ENTRY,
    ms: 0.3,
  })
})

test('what is not known of a request is left out', async () => {
  const { log, batches } = setUp()

  log.write({ ...ENTRY, upstream: undefined, repository: undefined, digest: undefined, from: undefined })
  await log[Symbol.asyncDispose]()

  expect(Object.keys(JSON.parse(batches.join('')))).not.toEqual(
    expect.arrayContaining(['upstream', 'repository', 'digest', 'from']),
  )
})

test('for a person it is a line of columns', async () => {
  const { log, batches } = setUp(undefined, true)

  log.write(ENTRY)
  await log[Symbol.asyncDispose]()

  expect(batches.join('')).toMatch(/ 200 hit +1\.5 KiB +0\.3 ms {2}GET \/v2\/library\S+ {2}docker\.io sha256:a{12}\n$/)
})

for (const isPretty of [false, true]) {
  test(`fault 68: what a client wrote into its path stays in its line, ${isPretty ? 'pretty' : 'as JSON'}`, async () => {
    const { log, batches } = setUp(undefined, isPretty)

    log.write({ ...ENTRY, path: '/v2/\r\n{"status":500}\u001b[2J"', method: 'GET"' })
    await log[Symbol.asyncDispose]()

    expect(batches.join('').trimEnd()).not.toMatch(/[\r\n\u001b]/)
  })
}

test('lines leave together, at a size or after a while', async () => {
  const { log, batches, tick, waiting } = setUp()

  log.write(ENTRY)
  log.write(ENTRY)
  expect(batches).toEqual([])
  expect(waiting()).toBe(1)
  tick()
  expect(batches.join('').split('\n')).toHaveLength(3)
  await log[Symbol.asyncDispose]()

  for (let at = 0; at < 500; at += 1) log.write(ENTRY)
  expect(batches.length).toBeGreaterThan(1)
  await log[Symbol.asyncDispose]()
  expect(batches.join('').split('\n')).toHaveLength(503)
})

test('while nobody reads, lines are dropped and counted, and memory stays; then it goes on', async () => {
  const gate = Promise.withResolvers<void>()
  const written: string[] = []
  const { log, onLost } = setUp(async (text) => {
    await gate.promise
    written.push(text)
  })

  for (let at = 0; at < 5_000; at += 1) log.write(ENTRY)
  expect(onLost).toHaveBeenCalled()
  gate.resolve()
  await log[Symbol.asyncDispose]()

  const lost = onLost.mock.calls.reduce((total, [lines]) => total + Number(lines), 0)
  expect(written.join('').split('\n').length - 1 + lost).toBe(5_000)
})

test('an output that fails costs its lines, which are counted, and nothing else', async () => {
  const { log, onLost } = setUp(() => Promise.reject(new Error('EPIPE')))

  log.write(ENTRY)
  log.write(ENTRY)
  await log[Symbol.asyncDispose]()

  expect(onLost).toHaveBeenCalledWith(2)
})
