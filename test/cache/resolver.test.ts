import { expect, onTestFinished, test } from 'vitest'
import { startUpstream, type UpstreamOptions } from '../support/upstream.ts'
import { type HouseOptions, NEVER, ofTag, type Rooms, startHouse, until } from './house.ts'

const POLICY = { fresh: '60s', stale: '30s', staleIfError: '1h' }
const EXPIRED_MS = 90_001

async function given(options: HouseOptions = {}, upstreamOptions: UpstreamOptions = {}) {
  const upstream = await startUpstream(upstreamOptions)
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  const house = await startHouse(upstream, { tags: [POLICY], ...options })
  await house.hold('team/app', image.config.digest, image.bytesOf(image.config.digest))
  onTestFinished(async () => {
    await house[Symbol.asyncDispose]()
    await upstream.stop()
    await house.end()
  })
  return { upstream, house, image, app: house.repository('team/app') }
}

const get = (house: Rooms, tag = 'v1', path = 'team/app') =>
  house.manifests.get(house.repository(path), ofTag(tag), NEVER)
const head = (house: Rooms, tag = 'v1', path = 'team/app') =>
  house.manifests.head(house.repository(path), ofTag(tag), NEVER)

test('a tag that is fresh is answered from memory, at once and without upstream', async () => {
  const { upstream, house, image, app } = await given()
  const first = await get(house)
  const asked = upstream.requests.length
  house.clock.advance(20_000)

  const found = house.manifests.find(app, ofTag('v1'))

  expect(first.facts).toEqual({ hit: false, fwd: 'uri-miss', fwdStatus: 200, stored: true })
  expect(found).toMatchObject({ digest: image.digest, bytes: image.manifest, facts: { hit: true, ttlS: 40 } })
  expect(upstream.requests).toHaveLength(asked)
})

test('a stale tag is answered at once and revalidated behind by one HEAD', async () => {
  const { upstream, house, app, image } = await given()
  await get(house)
  const moved = upstream.addImage('team/app', 'v1', { seed: 2, layers: 0 })
  const asked = upstream.requests.length
  house.clock.advance(70_000)

  const found = [1, 2, 3].map(() => house.manifests.find(app, ofTag('v1')))

  for (const each of found) expect(each).toMatchObject({ digest: image.digest, facts: { hit: true, ttlS: -10 } })
  await until(() => house.manifests.find(app, ofTag('v1')) === undefined) // it points to what is not here yet
  expect(upstream.requests.slice(asked)).toEqual(['HEAD /v2/team/app/manifests/v1'])
  expect((await get(house)).digest).toBe(moved.digest)
})

test('an expired tag costs one HEAD, shared by all who wait, and no GET where the digest is the same', async () => {
  const { upstream, house } = await given()
  await get(house)
  const asked = upstream.requests.length
  house.clock.advance(EXPIRED_MS)

  const found = await Promise.all(Array.from({ length: 50 }, () => get(house)))

  expect(upstream.requests.slice(asked)).toEqual(['HEAD /v2/team/app/manifests/v1'])
  expect(found.filter(({ facts }) => facts.collapsed)).toHaveLength(49)
  expect(found[0]?.facts).toEqual({ hit: false, fwd: 'stale', fwdStatus: 200 })
  expect((await get(house)).facts.hit).toBe(true)
})

test('fault 15: an upstream that fails or limits us is stood in for, says so, and is left alone for 5 s', async () => {
  for (const status of [500, 429]) {
    const { upstream, house, image } = await given()
    await get(house)
    upstream.behave({ match: /./, act: { status, body: '' } })
    house.clock.advance(EXPIRED_MS)

    const found = await get(house)
    const asked = upstream.requests.length
    const again = await Promise.all([get(house), head(house)])

    const facts = { hit: false, fwd: 'stale', fwdStatus: status }
    expect(found).toMatchObject({ digest: image.digest })
    for (const each of [found, ...again]) expect(each.facts).toEqual(facts)
    expect(upstream.requests).toHaveLength(asked)
    house.clock.advance(5_001)
    upstream.behaveWell()
    expect((await get(house)).facts).toEqual({ hit: false, fwd: 'stale', fwdStatus: 200 })
  }
})

test('fault 15: beyond stale-if-error, or where nothing is known, an outage is told, and not remembered', async () => {
  const { upstream, house } = await given()
  await get(house)
  upstream.behave({ match: /./, act: { status: 500 } })
  house.clock.advance(3_600_000 + EXPIRED_MS)

  await expect(get(house)).rejects.toMatchObject({ reason: 'upstreamFailed' })
  await expect(get(house, 'v2')).rejects.toMatchObject({ reason: 'upstreamFailed' })
  upstream.behaveWell()
  upstream.addImage('team/app', 'v2', { seed: 2 })
  await expect(get(house, 'v2')).resolves.toBeDefined()
})

test('an upstream that takes over 3 s is answered for, holds nobody for 5 s, and its late answer counts', async () => {
  const { upstream, house, image, app } = await given()
  await get(house)
  house.clock.advance(EXPIRED_MS)
  upstream.behave({ match: /HEAD/, times: 1, act: { delayMs: 1_000 } })

  const slow = get(house)
  await until(() => upstream.requests.at(-1)?.startsWith('HEAD') === true)
  house.clock.advance(3_000)
  const found = await slow
  const next = await get(house)

  for (const each of [found, next]) {
    expect(each).toMatchObject({ digest: image.digest, facts: { hit: false, fwd: 'stale' } })
  }
  await until(() => house.manifests.find(app, ofTag('v1'))?.facts.hit === true)
})

test('fault 9: where nothing is known an answer comes within 20 s, and the ask goes on behind it', async () => {
  const { upstream, house } = await given()
  upstream.behave({ match: /HEAD/, times: 1, act: { delayMs: 1_000 } })

  const slow = get(house).catch((error: unknown) => error)
  await until(() => upstream.requests.length > 0)
  house.clock.advance(19_999)

  expect(await slow).toMatchObject({ reason: 'upstreamSlow' })
  await until(() => upstream.requestsOf('GET').length === 1)
})

for (const gone of ['refuse', 'serve'] as const) {
  test(`fault 16: a tag that upstream deleted, by the policy "${gone}", also in the outage that follows`, async () => {
    const { upstream, house, image } = await given({ tags: [{ ...POLICY, gone }] })
    await get(house)
    upstream.remove('team/app', 'v1')
    house.clock.advance(EXPIRED_MS)

    const first = await get(house).catch((error: unknown) => error)
    await upstream.stop()
    house.clock.advance(EXPIRED_MS)
    const inOutage = await get(house).catch((error: unknown) => error)
    const byDigest = await house.manifests.get(house.repository('team/app'), { digest: image.digest }, NEVER)

    const refused = { reason: 'manifestUnknown' }
    const facts = { hit: false, fwd: 'stale', fwdStatus: 404, detail: 'gone' }
    expect(first).toMatchObject(gone === 'refuse' ? refused : { digest: image.digest, facts })
    expect(inOutage).toMatchObject(gone === 'refuse' ? refused : { digest: image.digest })
    expect(byDigest.bytes).toEqual(image.manifest)
  })
}

test('fault 16: what was deleted stays refused after a restart in an outage', async () => {
  const { upstream, house, image } = await given()
  await get(house)
  upstream.remove('team/app', 'v1')
  house.clock.advance(EXPIRED_MS)
  await get(house).catch(() => 'gone')
  await upstream.stop()

  const again = await house.restart()
  onTestFinished(() => again[Symbol.asyncDispose]())
  await expect(get(again)).rejects.toMatchObject({ reason: 'manifestUnknown' })
  await upstream.start()
  upstream.tag('team/app', 'v1', image.digest)
  again.clock.advance(10_001)

  expect((await get(again)).digest).toBe(image.digest)
})

test('a repository that is refused to us is not shown as in an outage, nor in the outage that follows', async () => {
  const { upstream, house } = await given()
  await get(house)
  upstream.behave({ match: /./, act: { status: 403, body: '' } })
  house.clock.advance(EXPIRED_MS)

  await expect(get(house)).rejects.toMatchObject({ reason: 'denied' })
  await upstream.stop()
  house.clock.advance(5_001)
  await expect(get(house)).rejects.toMatchObject({ reason: 'upstreamFailed' })
})

for (const [status, ms, why] of [
  [404, 10_000, 'as the policy says'],
  [403, 5_000, 'shorter'],
  [500, 0, 'not at all'],
] as const) {
  test(`a ${status} for a tag that is not known is remembered for ${ms} ms: ${why}`, async () => {
    const { upstream, house } = await given()
    upstream.behave({ match: /./, act: { status, body: '' } })
    const first = await get(house).catch((error: unknown) => error)
    upstream.behaveWell()
    const image = upstream.addImage('team/app', 'v9', { seed: 9 })
    upstream.tag('team/app', 'v1', image.digest)

    house.clock.advance(Math.max(0, ms - 1))
    const within = ms > 0 ? await get(house).catch((error: unknown) => error) : first
    house.clock.advance(1)

    expect(within).toMatchObject({ reason: (first as { reason: string }).reason })
    expect(within === first).toBe(ms === 0)
    expect((await get(house)).digest).toBe(image.digest)
  })
}

test('fault 46: five hundred who ask for a tag that is not there are told so by one HEAD', async () => {
  const { upstream, house } = await given()

  const waiting = Array.from({ length: 500 }, () => get(house, 'none').catch((error: unknown) => error))
  const errors = await Promise.all(waiting)

  expect(upstream.requests).toEqual(['HEAD /v2/team/app/manifests/none'])
  expect(new Set(errors).size).toBe(500)
  for (const error of errors) expect(error).toMatchObject({ reason: 'manifestUnknown' })
})

test('fault 44: a failure poisons no key: whoever comes next has upstream asked', async () => {
  const { upstream, house, image } = await given()
  upstream.behave({ match: /HEAD/, times: 1, act: { status: 500 } })

  const errors = await Promise.all([1, 2, 3].map(() => get(house).catch((error: unknown) => error)))

  expect(new Set(errors).size).toBe(3)
  expect((await get(house)).digest).toBe(image.digest)
})

for (const [host, pulls, why] of [
  ['docker.io', 0, 'there a GET costs a pull'],
  ['registry.test', 1, 'elsewhere a GET costs nothing'],
] as const) {
  test(`at ${host} a HEAD that is not taken is followed by ${pulls} GETs: ${why}`, async () => {
    const { upstream, house } = await given({ host }, { headStatus: 405 })

    const found = await get(house).catch((error: unknown) => error)

    expect(upstream.requestsOf('GET')).toHaveLength(pulls)
    expect(found).toMatchObject(pulls ? { facts: { hit: false } } : { reason: 'upstreamFailed' })
  })
}

test('no GET follows a HEAD that failed at docker.io', async () => {
  const { upstream, house } = await given({ host: 'docker.io' }, { headStatus: 503 })

  await expect(get(house)).rejects.toMatchObject({ reason: 'upstreamFailed' })
  expect(upstream.requestsOf('GET')).toEqual([])
})

test('fault 11: where a HEAD tells a digest that leads nowhere, the bytes of a GET by tag decide', async () => {
  const { upstream, house, image } = await given()
  const headers = { 'docker-content-digest': `sha256:${'0'.repeat(64)}` }
  upstream.behave({ match: /HEAD .*\/v1$/, act: { headers } })

  const found = await get(house)

  expect(found).toMatchObject({ digest: image.digest, bytes: image.manifest })
  expect(upstream.requestsOf('GET').map((each) => each.split('/').at(-1))).toEqual([`sha256:${'0'.repeat(64)}`, 'v1'])
  expect((await get(house)).facts.hit).toBe(true)
})

test('fault 11: a HEAD that tells no digest is followed by a GET, and our hash is the digest', async () => {
  const { upstream, house, image } = await given()
  upstream.behave({ match: /HEAD/, act: { headers: { 'docker-content-digest': null } } })

  expect(await get(house)).toMatchObject({ digest: image.digest, bytes: image.manifest })
  expect(upstream.requests).toEqual(['HEAD /v2/team/app/manifests/v1', 'GET /v2/team/app/manifests/v1'])
})

test('fault 15: a tag that moved to what we are not given yet is answered by what it was before', async () => {
  const { upstream, house, image } = await given()
  await get(house)
  const moved = upstream.addImage('team/app', 'v1', { seed: 2, layers: 0 })
  upstream.behave({ match: /GET/, act: { status: 500, body: '' } })
  house.clock.advance(EXPIRED_MS)

  const before = await get(house)
  upstream.behaveWell()

  expect(before).toMatchObject({ digest: image.digest, facts: { hit: false, fwd: 'stale' } })
  expect((await get(house)).digest).toBe(moved.digest)
})

test('fault 54: a wall clock that steps two days back or forth evicts no answer and keeps none for ever', async () => {
  for (const stepMs of [-2 * 86_400_000, 2 * 86_400_000]) {
    const { upstream, house, image } = await given()
    await get(house)
    house.clock.stepWall(stepMs)
    await upstream.stop()

    const found = await get(house)
    house.clock.advance(3_600_000 + EXPIRED_MS)

    expect(found.digest).toBe(image.digest)
    await expect(get(house)).rejects.toMatchObject({ reason: 'upstreamFailed' })
  }
})

test('fault 54: what was confirmed before the wall clock stepped back is asked for after a restart', async () => {
  const { upstream, house } = await given()
  await get(house)
  const moved = upstream.addImage('team/app', 'v1', { seed: 2, layers: 0 })
  house.clock.stepWall(-2 * 86_400_000)

  const again = await house.restart()
  onTestFinished(() => again[Symbol.asyncDispose]())

  expect((await get(again)).digest).toBe(moved.digest)
})

test('what is known outlives a restart', async () => {
  const { upstream, house, image } = await given()
  await get(house)
  const asked = upstream.requests.length

  const again = await house.restart()
  onTestFinished(() => again[Symbol.asyncDispose]())

  expect(await get(again)).toMatchObject({ digest: image.digest, facts: { hit: true, ttlS: 60 } })
  expect(upstream.requests).toHaveLength(asked)
})

test('a close ends what is under way and waits for it', async () => {
  const { upstream, house } = await given()
  upstream.behave({ match: /HEAD/, act: { hang: true } })
  const waiting = get(house).catch((error: unknown) => error)
  await until(() => upstream.requests.length > 0)

  await house.manifests[Symbol.asyncDispose]()

  expect(await waiting).toBeInstanceOf(Error)
})

test('a write makes untrue what is known of its tag, and what is on its way', async () => {
  const { upstream, house, app } = await given()
  await get(house)
  const moved = upstream.addImage('team/app', 'v1', { seed: 2, layers: 0 })

  await house.manifests.forget(app, ofTag('v1'))

  expect((await get(house)).digest).toBe(moved.digest)
})
