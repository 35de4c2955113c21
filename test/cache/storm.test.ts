import { expect, onTestFinished, test } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import { OciError } from '../../src/base/errors.ts'
import { startUpstream } from '../support/upstream.ts'
import { pullWhole, ScriptedSource, startFills } from './fill-support.ts'
import { HandClock } from './hand-clock.ts'
import { type HouseOptions, NEVER, ofTag, startHouse, until } from './house.ts'

const POLICY = { fresh: '60s', stale: '30s', staleIfError: '1h' }
const CLIENTS = 1_000

async function given(tags: number, options: HouseOptions = {}) {
  const upstream = await startUpstream()
  const image = upstream.addImage('team/app', undefined, { layers: 0 })
  const names = Array.from({ length: tags }, (_, at) => `v${at}`)
  for (const name of names) upstream.tag('team/app', name, image.digest)
  const house = await startHouse(upstream, { tags: [POLICY], ...options })
  await house.hold('team/app', image.config.digest, image.bytesOf(image.config.digest))
  onTestFinished(async () => {
    await house[Symbol.asyncDispose]()
    await upstream.stop()
    await house.end()
  })
  const app = house.repository('team/app')
  const get = (name: string) => house.manifests.get(app, ofTag(name), NEVER)
  const find = (name: string) => house.manifests.find(app, ofTag(name))
  return { upstream, image, house, names, get, find }
}

test('fault 52: a thousand clients of a hot tag whose freshness ended are answered at once, and cost one HEAD', async () => {
  const { upstream, house, image, get, find } = await given(1)
  await get('v0')
  const asked = upstream.requests.length
  upstream.behave({ match: /HEAD/, act: { delayMs: 50 } })
  house.clock.advance(70_000)

  const found = Array.from({ length: CLIENTS }, () => find('v0'))

  for (const each of found) expect(each).toMatchObject({ digest: image.digest, facts: { hit: true, ttlS: -10 } })
  await until(() => find('v0')?.facts.ttlS === 60)
  expect(upstream.requests.slice(asked)).toEqual(['HEAD /v2/team/app/manifests/v0'])
})

test('fault 52: a thousand clients of a tag that may not be shown any more wait for the same HEAD', async () => {
  const { upstream, house, image, get } = await given(1)
  await get('v0')
  const asked = upstream.requests.length
  house.clock.advance(90_001)

  const found = await Promise.all(Array.from({ length: CLIENTS }, () => get('v0')))

  expect(found.every(({ digest }) => digest === image.digest)).toBe(true)
  expect(found.filter(({ facts }) => facts.collapsed)).toHaveLength(CLIENTS - 1)
  expect(upstream.requests.slice(asked)).toEqual(['HEAD /v2/team/app/manifests/v0'])
})

test('fault 52: a hundred tags that were confirmed together end over a fifth of their freshness, each time anew', async () => {
  let drawn = 0
  const random = () => (drawn++ * 0.618_033_988_75) % 1 // even, and never twice the same
  const { upstream, house, names, get, find } = await given(100, { random })
  for (const name of names) await get(name)
  const asked = upstream.requests.length
  const isFresh = (name: string) => (find(name)?.facts.ttlS ?? 0) > 0
  const freshAt: number[] = []

  for (const ms of [53_000, 2_000, 2_500, 2_500, 2_500, 2_500, 1_001]) {
    house.clock.advance(ms)
    freshAt.push(names.filter(isFresh).length)
  }

  expect(freshAt[0]).toBe(100)
  for (const [at, count] of [95, 75, 54, 33, 12].entries()) {
    expect(Math.abs((freshAt[at + 1] ?? 0) - count)).toBeLessThan(15)
  }
  expect(freshAt.at(-1)).toBeLessThan(60) // those whose turn was early are fresh again by now
  await until(() => names.every((name) => find(name) !== undefined))
  expect(upstream.requests.slice(asked).every((request) => request.startsWith('HEAD'))).toBe(true)
})

/** A clock whose waits are over at once, and are told. */
class NotingClock extends HandClock {
  readonly waits: number[] = []

  override sleep(ms: number): Promise<void> {
    if (ms > 0) this.waits.push(ms)
    return Promise.resolve()
  }
}

const failing = () => new OciError('upstreamFailed', 'down', { fault: 'connect' })

test('fault 53: the rest before another try is drawn from all of a bound that doubles, so that retries spread', async () => {
  const waitsOf = async (random: () => number) => {
    const clock = new NotingClock()
    await using house = await startFills(1e9, { clock: clock satisfies Clock, random })
    const bytes = Buffer.alloc(300_000, 7)
    // told of once, so that it gets all of its turns
    const source = new ScriptedSource(
      'a',
      bytes,
      (turn) => (turn === 0 ? { cutAfter: 70_000 } : { error: failing() }),
      70_000,
    )
    await pullWhole(house.join(bytes, [source]), bytes)
    return { waits: clock.waits, asked: source.asked.length }
  }

  expect(await waitsOf(() => 0.999_999)).toMatchObject({ asked: 6 })
  const { waits: most } = await waitsOf(() => 1)
  const { waits: half } = await waitsOf(() => 0.5)
  const { waits: none } = await waitsOf(() => 0)
  expect(most).toEqual([250, 500, 1_000, 2_000])
  expect(half).toEqual([125, 250, 500, 1_000])
  expect(none).toEqual([])
})

test('fault 53: while upstream is down a known tag costs it one HEAD in five seconds, however many ask', async () => {
  const { upstream, house, image, get } = await given(1)
  await get('v0')
  const asked = upstream.requests.length
  upstream.behave({ match: /./, act: { status: 503 } })
  house.clock.advance(90_001)

  for (let second = 0; second < 60; second++) {
    const found = await Promise.all(Array.from({ length: 20 }, () => get('v0')))
    expect(found.every(({ digest }) => digest === image.digest)).toBe(true)
    house.clock.advance(1_000)
  }

  expect(upstream.requests.length - asked).toBeLessThanOrEqual(12)
})

test('fault 53: while upstream is down a blob that nobody was told of costs two requests, for all who ask together', async () => {
  const clock = new NotingClock()
  await using house = await startFills(1e9, { clock, random: () => 0.5 })
  const bytes = Buffer.alloc(300_000, 7)
  const source = new ScriptedSource('a', bytes, () => ({ error: failing() }))

  const got = await Promise.all(Array.from({ length: 200 }, () => pullWhole(house.join(bytes, [source]), bytes)))

  expect(got.every(({ error }) => error instanceof OciError)).toBe(true)
  expect(source.asked).toHaveLength(2)
})

test('fault 56: an hour that passes at once asks upstream for nothing, and then for what somebody asks for', async () => {
  const { upstream, house, names, image, get } = await given(100)
  for (const name of names) await get(name)
  const asked = upstream.requests.length

  house.clock.advance(3_600_000)
  const after = upstream.requests.length
  const found = await get('v7')

  expect(after).toBe(asked)
  expect(found.digest).toBe(image.digest)
  expect(upstream.requests.slice(asked)).toEqual(['HEAD /v2/team/app/manifests/v7'])
})
