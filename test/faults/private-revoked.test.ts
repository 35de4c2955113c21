import { expect, test } from 'vitest'
import type { Seen } from '../support/misbehave.ts'
import { rawGet } from '../support/pull.ts'
import { startThief } from '../support/thief.ts'
import { startUpstream } from '../support/upstream.ts'
import { basicOf, seenOf, startTenants } from './tenants.ts'

async function pulled() {
  const tenants = await startTenants()
  const image = tenants.registry.addImage('team-a/app', 'v1', { layers: 1 })
  const blob = `team-a/app/blobs/${image.layers[0]?.digest}`
  const statuses = [await tenants.alice.statusOf('team-a/app/manifests/v1'), await tenants.alice.statusOf(blob)]
  expect(statuses).toEqual([200, 200])
  return { ...tenants, image, blob }
}

test('fault 77: a password that is changed closes what is held within a minute, though its tokens are honoured', async () => {
  const { registry, alice, users, clock, blob } = await pulled()
  clock.leap(30_000)
  registry.tokens.revoke()
  expect(await alice.statusOf('team-a/app/tags/list')).toBe(200) // by a new token, which would outlive the verdict
  users['alice'] = 'another'

  clock.leap(28_000)
  const before = await alice.statusOf(blob)
  clock.leap(3_000)
  const after = [await alice.statusOf(blob), await alice.statusOf('team-a/app/manifests/v1')]

  expect([before, ...after]).toEqual([200, 404, 404])
})

test('fault 77: a right that is taken away closes what is held within a minute', async () => {
  const { alice, rights, clock, blob } = await pulled()
  rights.get('team-a')?.delete('alice')

  clock.leap(61_000)

  expect(await alice.statusOf(blob)).toBe(404)
  expect(await alice.statusOf('team-a/app/manifests/v1', { method: 'HEAD' })).toBe(404)
  expect(await alice.statusOf('team-a/app/tags/list')).toBe(404)
})

test('fault 77: a refusal that is met ends the verdict at once, and an outage brings nothing back', async () => {
  const { registry, alice, rights, clock, blob } = await pulled()
  rights.get('team-a')?.delete('alice')

  const listed = await alice.statusOf('team-a/app/tags/list')
  clock.leap(6_000)
  const met = await alice.statusOf(blob)
  await registry.stop()
  clock.leap(6_000)

  expect([listed, met, await alice.statusOf(blob), await alice.statusOf('team-a/app/manifests/v1')]).toEqual([
    404, 404, 404, 404,
  ])
})

test('upstream out: who was confirmed is served for a minute and then told so; who was not is told 404', async () => {
  const { registry, alice, bob, clock, blob } = await pulled()
  await registry.stop()

  const inTime = await alice.statusOf(blob)
  const stranger = [await bob.ask(`/v2/${blob}`), await bob.ask(`/v2/${blob.replace('team-a', 'team-z')}`)]
  clock.leap(61_000)
  const late = [await alice.statusOf(blob), await alice.statusOf('team-a/app/manifests/v1')]

  expect(inTime).toBe(200)
  expect(late).toEqual([502, 502])
  expect(stranger.map(({ status }) => status)).toEqual([404, 404])
  expect(seenOf(stranger[0] ?? fail())).toEqual(seenOf(stranger[1] ?? fail()))
})

const fail = (): never => {
  throw new Error('no answer')
}

for (const [how, kind] of [
  ['refused', 'bearer'],
  ['told 404', 'basic'],
] as const) {
  test(`fault 77: alice ${how} changes nothing for bob: the tag stays, in an outage too`, async () => {
    const tags = [{ fresh: '10s', stale: '0s' }]
    const auth = kind === 'basic' ? { mayRead: undefined } : {}
    const { registry, alice, bob, rights, clock } = await startTenants({
      ...{ kind, auth },
      house: { upstreams: { 'registry.test': { tags } } },
    })
    const { config } = registry.addImage('team-c/app', 'v1', { layers: 0 })
    expect(await alice.statusOf(`team-c/app/blobs/${config.digest}`)).toBe(200)
    const tag = 'team-c/app/manifests/v1'
    expect([await alice.statusOf(tag), await bob.statusOf(tag)]).toEqual([200, 200])
    clock.leap(20_000)

    rights.get('team-c')?.delete('alice')
    if (kind === 'basic') {
      const isAlices = ({ headers }: Seen) => headers.authorization === basicOf('alice')
      registry.behave({ match: isAlices, act: { status: 404, body: '{}' } })
    }
    const refused = await alice.statusOf(tag)
    await registry.stop()

    expect(refused).toBe(404)
    expect(await bob.statusOf(tag)).toBe(200)
  })
}

test('a fill whose starter is refused in its midst goes on as those who joined: no body is cut', async () => {
  const { registry, house, alice, bob, rights, clock } = await startTenants()
  const image = registry.addImage('team-c/app', 'v1', { layers: 1, layerBytes: 400_000 })
  const [layer = image.config] = image.layers
  const path = `/v2/team-c/app/blobs/${layer.digest}`
  const { promise: until, resolve: release } = Promise.withResolvers<void>()
  registry.behave({
    match: /GET .*blobs/,
    times: 1,
    act: { until, cutAfter: 200_000 },
  })

  const one = alice.ask(path)
  await expect.poll(() => registry.bodyBytesSent).toBeGreaterThan(0)
  const other = await rawGet(house, path, [`Authorization: ${basicOf('bob')}`])
  await other.until(2_000)
  rights.get('team-c')?.delete('alice')
  release()
  const whole = await one
  await other.until(400_000)
  await expect.poll(() => other.body.length).toBe(400_000)
  other.socket.destroy()
  clock.leap(6_000)

  expect(whole.isWhole).toBe(true)
  expect(whole.body.equals(image.bytesOf(layer.digest))).toBe(true)
  expect(other.body.equals(image.bytesOf(layer.digest))).toBe(true)
  expect(registry.bodyBytesSent).toBeLessThan(470_000)
  expect([await alice.statusOf(path.slice(4)), await bob.statusOf(path.slice(4))]).toEqual([404, 200])
})

test('fault 75: a fill that is refused to its starter is no news for who joined it: he gets the blob as himself', async () => {
  const { registry, alice, bob } = await startTenants()
  const image = registry.addImage('team-c/app', 'v1', { layers: 1 })
  const path = `team-c/app/blobs/${image.layers[0]?.digest}`
  registry.behave({
    match: ({ kind, method, headers }) => kind === 'blob' && method === 'GET' && headers.authorization !== undefined,
    times: 2, // once more with a new token
    act: { status: 403, body: '{}', delayMs: 300 },
  })

  const starters = alice.statusOf(path)
  await expect.poll(() => registry.requestsOf(/GET .*blobs/).length).toBeGreaterThan(0)
  const joined = await bob.statusOf(path)

  expect([await starters, joined]).toEqual([404, 200])
})

test('fault 71: a caller’s password goes to no realm of a stranger, and what comes of it is 404', async () => {
  await using thief = await startThief()
  const stranger = thief.origin.replace('127.0.0.1', 'localhost')
  const { registry, alice } = await startTenants({ auth: { realm: `${stranger}/token` } })
  registry.addImage('team-a/app', 'v1')

  const status = await alice.statusOf('team-a/app/manifests/v1')

  expect(status).toBe(404)
  expect(thief.loot.filter((each) => /authorization/i.test(each))).toEqual([])
})

test('fault 72: a caller’s credentials follow no redirect, and reach no upstream but the repository’s', async () => {
  await using thief = await startThief('{"schemaVersion":2}')
  await using elsewhere = await startUpstream()
  const { registry, alice } = await startTenants({ house: { upstreams: { 'other.test': { of: elsewhere } } } })
  const image = registry.addImage('team-a/app', 'v1', { layers: 1 })
  elsewhere.addImage('open/app', 'v1')
  const stranger = thief.origin.replace('127.0.0.1', 'localhost')
  expect(await alice.statusOf('team-a/app/manifests/v1')).toBe(200)
  registry.behave({
    match: ({ kind, headers }) => kind === 'blob' && headers.authorization !== undefined,
    act: { redirect: `${stranger}/blob` },
  })

  await alice.statusOf(`team-a/app/blobs/${image.layers[0]?.digest}`)
  await alice.statusOf('other.test/open/app/manifests/v1')

  expect(thief.loot.length).toBeGreaterThan(0)
  expect(thief.loot.filter((each) => /authorization|canary|tok-/i.test(each))).toEqual([])
  expect(elsewhere.headersSeen.filter(({ authorization }) => authorization !== undefined)).toEqual([])
})

test('fault 77: a public repository that is closed upstream is shown by tag no more, nor in the outage after', async () => {
  const tags = [{ fresh: '10s', stale: '0s' }]
  const { registry, house, clock, rights } = await startTenants({ house: { upstreams: { 'registry.test': { tags } } } })
  const { config } = registry.addImage('open/app', 'v1', { layers: 0 })
  const statuses = [
    (await house.getManifest('open/app', 'v1')).status,
    (await house.getBlob('open/app', config.digest)).status,
  ]
  rights.set('open', new Set(['owner']))
  clock.leap(20_000)

  const closed = await house.getManifest('open/app', 'v1')
  await registry.stop()
  clock.leap(20_000)
  const after = await house.getManifest('open/app', 'v1')

  expect(statuses).toEqual([200, 200])
  expect([closed.status, after.status]).toEqual([403, 502])
})
