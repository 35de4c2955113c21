import { expect, onTestFinished, test } from 'vitest'
import { type Caller, callerOf } from '../../src/base/caller.ts'
import { Secret } from '../../src/base/config.ts'
import type { Repository } from '../../src/oci/names.ts'
import type { AuthOptions } from '../support/token-server.ts'
import { startUpstream } from '../support/upstream.ts'
import { NEVER, ofDigest, ofTag, startHouse, until } from './house.ts'

const ALICE = callerOf('alice', new Secret('alice-canary'))
const BOB = callerOf('bob', new Secret('bob-canary'))

async function given(auth: Partial<AuthOptions> = {}) {
  const users: Record<string, string> = { alice: 'alice-canary', bob: 'bob-canary' }
  const readers = new Set(['alice'])
  const mayRead = (user: string | undefined) => readers.has(user ?? '')
  const fake = await startUpstream({ auth: { kind: 'bearer', users, mayRead, ...auth } })
  const house = await startHouse(fake, { private: ['team/'] })
  onTestFinished(async () => {
    await house[Symbol.asyncDispose]()
    await fake.stop()
    await house.end()
  })
  const image = fake.addImage('team/app', 'v1', { layers: 0 })
  const app = house.repository('team/app')
  const as = (caller: Caller): Repository => ({ ...app, as: caller })
  const get = (caller: Caller, reference = ofDigest(image.digest)) => house.manifests.get(as(caller), reference, NEVER)
  return { fake, house, image, app, as, get, users, readers }
}

const reasonOf = async (work: Promise<unknown>): Promise<unknown> =>
  await work.then(
    () => 'shown',
    (error: unknown) => (error instanceof Error && 'reason' in error ? error.reason : error),
  )

test('a verdict holds for 60 s from when it was asked for, and not a millisecond longer', async () => {
  const { house, as, get } = await given()
  await get(ALICE)

  house.clock.advance(59_999)
  const isOpenBefore = house.verdicts.opens(as(ALICE))
  house.clock.advance(1)

  expect(isOpenBefore).toBe(true)
  expect(house.verdicts.opens(as(ALICE))).toBe(false)
})

test('a verdict counts from when its request was sent, not from when it was answered', async () => {
  const { fake, house, as, get } = await given()
  fake.behave({ match: /HEAD/, times: 1, act: { delayMs: 300 } })

  const shown = get(ALICE)
  await until(() => fake.requestsOf('HEAD').length > 0)
  house.clock.advance(9_000)
  await shown
  house.clock.advance(51_000)

  expect(house.verdicts.opens(as(ALICE))).toBe(false)
})

test('fault 54: a step of the wall clock lengthens no verdict', async () => {
  const { house, as, get } = await given()
  await get(ALICE)

  house.clock.stepWall(-2 * 86_400_000)
  house.clock.advance(60_000)

  expect(house.verdicts.opens(as(ALICE))).toBe(false)
})

test('what is held is asked for as its caller with a new token for each verdict, and not before it is over', async () => {
  const { fake, house, get } = await given()
  await get(ALICE)
  const tokens = fake.tokens.requests.length
  const asked = fake.requests.length

  await get(ALICE)
  const within = fake.requests.length - asked
  house.clock.advance(60_000)
  await get(ALICE)

  expect(within).toBe(0)
  expect(fake.tokens.requests.length).toBe(tokens + 1)
  expect(house.judged).toEqual(['yes', 'yes'])
})

test('many who wait for one verdict cost one ask; of another caller it costs another', async () => {
  const { fake, house, get, readers } = await given()
  readers.add('bob')
  await get(ALICE)
  house.clock.advance(60_000)
  const heads = fake.requestsOf('HEAD').length
  fake.behave({ match: /HEAD/, act: { delayMs: 50 } })

  await Promise.all([...Array.from({ length: 20 }, () => get(ALICE)), ...Array.from({ length: 20 }, () => get(BOB))])

  // one signs in anew and is challenged first
  expect(fake.requestsOf('HEAD').length - heads).toBeLessThanOrEqual(3)
})

test('a refusal is remembered for five seconds, for its caller alone', async () => {
  const { fake, house, get } = await given()

  const refused = await reasonOf(get(BOB))
  const asked = fake.requests.length
  house.clock.advance(4_999)
  const again = await reasonOf(get(BOB))
  const stillAsked = fake.requests.length - asked
  const alices = await reasonOf(get(ALICE))
  house.clock.advance(1)
  const before = fake.requests.length
  const anew = await reasonOf(get(BOB))

  expect([refused, again, alices, anew]).toEqual(['manifestUnknown', 'manifestUnknown', 'shown', 'manifestUnknown'])
  expect(stillAsked).toBe(0)
  expect(fake.requests.length).toBeGreaterThan(before)
})

test('without a caller a private repository is refused by each way in, and no upstream is asked', async () => {
  const { fake, house, app, image } = await given()
  const ways = [
    house.manifests.get(app, ofTag('v1'), NEVER),
    house.manifests.head(app, ofDigest(image.digest), NEVER),
    house.listings.tags(app, {}, NEVER),
    house.listings.referrers(app, image.digest, {}, NEVER),
  ]

  expect(await Promise.all(ways.map(reasonOf))).toEqual(Array(4).fill('unauthorized'))
  expect(fake.requests).toEqual([])
})

test('what upstream has deleted is shown by digest to who may read the repository, and to nobody else', async () => {
  const { fake, house, image, get, readers } = await given()
  await get(ALICE)
  fake.addImage('team/app', 'v2', { layers: 0, seed: 2 })
  fake.remove('team/app', image.digest)

  house.clock.advance(60_000)
  const alices = await reasonOf(get(ALICE))
  readers.delete('alice')
  house.clock.advance(60_000)

  expect([alices, await reasonOf(get(BOB)), await reasonOf(get(ALICE))]).toEqual([
    'shown',
    'manifestUnknown',
    'manifestUnknown',
  ])
})

test('a page that answers 200 to everything is no yes', async () => {
  const { fake, house, as } = await given({ kind: 'none' })
  fake.behave({
    match: /./,
    act: {
      status: 200,
      body: '<html>sign in</html>',
      headers: { 'content-type': 'text/html', 'docker-content-digest': null },
    },
  })

  const blob = house.verdicts.under(as(BOB), { of: 'blob', digest: (await given()).image.digest }, NEVER, shown)
  const tags = house.verdicts.under(as(BOB), { of: 'tags' }, NEVER, shown)
  const tag = house.verdicts.under(as(BOB), { of: 'manifest', reference: ofTag('v1') }, NEVER, shown)

  expect(await Promise.all([blob, tag, tags].map(reasonOf))).toEqual(['blobUnknown', 'manifestUnknown', 'nameUnknown'])
})

const shown = async () => 'shown'

test('a refusal that comes while a verdict is on its way keeps it from being remembered', async () => {
  const { fake, house, as, get } = await given()
  await get(ALICE)
  house.clock.advance(60_000)
  fake.behave({ match: /HEAD/, times: 1, act: { delayMs: 100 } })
  const heads = fake.requestsOf('HEAD').length

  const confirmed = get(ALICE)
  await until(() => fake.requestsOf('HEAD').length > heads)
  house.clock.advance(1)
  house.verdicts.refused(as(ALICE))
  await confirmed

  expect(house.verdicts.opens(as(ALICE))).toBe(false)
})

test('fault 78: a link that was deleted is not revived by another repository that has the digest', async () => {
  const { fake, house, as, image, get } = await given()
  fake.addManifest('team/other', image.manifest)
  const other = { ...house.repository('team/other'), as: ALICE }
  await get(ALICE)

  await house.links.forget(as(ALICE), image.digest)
  await house.manifests.get(other, ofDigest(image.digest), NEVER)
  const isLinked = await house.links.mayShow(as(ALICE), image.digest)
  const asked = fake.requestsOf(/HEAD .*team\/app/).length
  await get(ALICE)

  expect(isLinked).toBe(false)
  expect(fake.requestsOf(/HEAD .*team\/app/).length).toBe(asked + 1)
})

test('a caller who is limited, or slow upstream, rests nobody else', async () => {
  const { fake, house, get, readers } = await given()
  readers.add('bob')
  fake.behave({
    match: ({ kind }) => kind === 'token',
    times: 1,
    act: { status: 429, headers: { 'retry-after': '300' } },
  })

  const limited = await reasonOf(get(ALICE))
  const other = await reasonOf(get(BOB))

  expect([limited, other]).toEqual(['manifestUnknown', 'shown'])
  expect(house.judged).toEqual(['unconfirmed', 'yes'])
})

test('that there is no tag of the name tags hides no list of tags', async () => {
  const { house, as, get } = await given()

  const absent = await reasonOf(get(ALICE, ofTag('tags')))
  const listed = await reasonOf(house.listings.tags(as(ALICE), {}, NEVER))

  expect([absent, listed]).toEqual(['manifestUnknown', 'shown'])
})

test('whoever makes up credentials takes no place of a caller who was confirmed before', async () => {
  const { fake, house, as, get } = await given()
  await get(ALICE)
  house.clock.advance(60_000)
  fake.behave({ match: ({ headers }) => headers.authorization === undefined, act: { delayMs: 40 } })
  const strangers = Array.from({ length: 256 }, (_, at) => callerOf(`stranger ${at}`, new Secret('x')))
  const waiting = strangers.map((each) => reasonOf(house.manifests.get(as(each), ofTag('v1'), NEVER)))

  const again = await reasonOf(get(ALICE))
  house.clock.advance(10_000)
  await Promise.all(waiting)

  expect(again).toBe('shown')
})

test('more callers at once than may be asked for are told to come again, all alike, and none waits for ever', async () => {
  const { fake, house, as, get } = await given()
  await get(ALICE)
  fake.behave({ match: /./, act: { hang: true } })
  const strangers = Array.from({ length: 256 }, (_, at) => callerOf(`stranger ${at}`, new Secret('x')))
  const waiting = strangers.map((each) => house.manifests.get(as(each), ofTag('v1'), NEVER))

  const beyond = await reasonOf(get(BOB))
  const known = await reasonOf(get(ALICE))
  house.clock.advance(10_000)

  expect([beyond, known]).toEqual(['overloaded', 'shown'])
  expect(new Set(await Promise.all(waiting.map(reasonOf)))).toEqual(new Set(['manifestUnknown']))
})

test('a write, or a purge, forgets what was asked for every caller', async () => {
  const { fake, house, app, get } = await given()
  const late = ofTag('late')
  const before = await reasonOf(get(ALICE, late))
  await get(ALICE)
  const during = await reasonOf(get(ALICE, late))
  fake.addImage('team/app', 'late', { layers: 0, seed: 5 })
  const remembered = await reasonOf(get(ALICE, late))

  await house.manifests.forget(app, late)

  expect([before, during, remembered]).toEqual(Array(3).fill('manifestUnknown'))
  expect(await reasonOf(get(ALICE, late))).toBe('shown')
})
