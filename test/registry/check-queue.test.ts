import { expect, test } from 'vitest'
import { CheckQueue, networkOf } from '../../src/registry/check-queue.ts'
import { HandClock } from '../cache/hand-clock.ts'

/** A queue whose checks end when they are told to. */
function queueOf() {
  const clock = new HandClock()
  const queue = new CheckQueue(clock, 2)
  const begun: string[] = []
  const ends: (() => void)[] = []
  const ask = (address: string, name = address) =>
    queue
      .run(address, () => {
        begun.push(name)
        return new Promise<void>((resolve) => ends.push(resolve))
      })
      .then(
        () => 'done',
        (error: Error) => error.message,
      )
  const endOne = async () => {
    ends.shift()?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { clock, begun, ask, endOne }
}

test('no more checks are under way at a time than it is told', async () => {
  const { begun, ask, endOne } = queueOf()

  for (const name of ['a', 'b', 'c']) void ask('10.0.0.1', name)
  expect(begun).toEqual(['a', 'b'])
  await endOne()

  expect(begun).toEqual(['a', 'b', 'c'])
})

test('a flood from one address delays another by one check, and is refused beyond 64 that wait', async () => {
  const { begun, ask, endOne } = queueOf()

  const flood = Array.from({ length: 2 + 64 }, () => ask('10.0.0.1', 'flood'))
  const beyond = await ask('10.0.0.1')
  void ask('10.0.0.2', 'other')
  await endOne()
  await endOne()

  expect(beyond).toContain('too many passwords')
  expect(begun).toEqual(['flood', 'flood', 'flood', 'other'])
  expect(flood).toHaveLength(66)
})

test('512 wait in all; one more is refused', async () => {
  const { ask } = queueOf()

  const waiting = Array.from({ length: 2 + 512 }, (_, at) => ask(`10.0.${at % 100}.1`))
  const beyond = await ask('10.1.0.1')

  expect(beyond).toContain('too many passwords')
  expect(await Promise.race([...waiting, 'all wait'])).toBe('all wait')
})

test('who has waited for more than 10 s is refused when its turn comes, and the next is checked', async () => {
  const { clock, begun, ask, endOne } = queueOf()
  void ask('10.0.0.1', 'a')
  void ask('10.0.0.1', 'b')
  const old = ask('10.0.0.1', 'old')
  clock.advance(10_001)
  void ask('10.0.0.1', 'new')

  await endOne()

  expect(await old).toContain('too many passwords')
  expect(begun).toEqual(['a', 'b', 'new'])
})

test('a check that fails gives its place back', async () => {
  const queue = new CheckQueue(new HandClock())
  const failing = () => queue.run('', () => Promise.reject(new Error('no')))

  for (let at = 0; at < 5; at += 1) await expect(failing()).rejects.toThrow('no')

  await expect(queue.run('', async () => 'right')).resolves.toBe('right')
})

for (const [address, network] of [
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3::4', '8193:3512:1:2'],
  ['2001:db8:1:2::', '8193:3512:1:2'],
  ['', ''],
] as const) {
  test(`the network of ${address || 'nothing'} is ${network || 'nothing'}`, () => {
    expect(networkOf(address)).toBe(network)
  })
}
