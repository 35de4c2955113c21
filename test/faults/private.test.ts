import { expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { askedSince, basicOf, seenOf, startTenants } from './tenants.ts'

const NOWHERE = digestOf(Buffer.from('nowhere at all'))

/** Each way to ask for a digest: as a manifest, and as a blob. */
const WAYS = [
  { method: 'GET', what: 'manifests', headers: {} },
  { method: 'HEAD', what: 'manifests', headers: {} },
  { method: 'GET', what: 'blobs', headers: {} },
  { method: 'HEAD', what: 'blobs', headers: {} },
  { method: 'GET', what: 'blobs', headers: { range: 'bytes=10-20' } },
  { method: 'GET', what: 'referrers', headers: {} },
] as const

for (const kind of ['bearer', 'basic'] as const) {
  test(`fault 75: alice's image is bob's 404 before, during and after her pull, upstream up and down, by ${kind}`, async () => {
    const { registry, alice, bob, clock } = await startTenants({
      kind,
      auth: kind === 'basic' ? { mayRead: undefined } : {},
    })
    if (kind === 'basic') onlyAlice(registry)
    const image = registry.addImage('team-a/app', 'v1', { layers: 1, layerBytes: 300_000 })
    const [layer = image.config] = image.layers
    const held = { manifests: image.digest, blobs: layer.digest, referrers: image.digest }
    const compare = async () => {
      clock.leap(11_000) // what was said no to is forgotten
      for (const { method, what, headers } of WAYS) {
        const at = `/v2/team-a/app/${what}`
        const known = await bob.ask(`${at}/${held[what]}`, { method, headers })
        const unknown = await bob.ask(`${at}/${NOWHERE}`, { method, headers })
        expect(known.status, `${method} ${what}`).toBe(404)
        expect(seenOf(known)).toEqual(seenOf(unknown))
      }
      expect(seenOf(await bob.ask('/v2/team-a/app/manifests/v1'))).toEqual(
        seenOf(await bob.ask('/v2/team-a/app/manifests/v0')),
      )
      expect(seenOf(await bob.ask('/v2/team-a/app/tags/list'))).toMatchObject({ status: 404 })
    }

    await compare()
    expect(await alice.statusOf('team-a/app/manifests/v1')).toBe(200)
    expect(await alice.statusOf(`team-a/app/manifests/${image.digest}`)).toBe(200)
    const { promise: until, resolve: release } = Promise.withResolvers<void>()
    registry.behave({ match: /GET .*blobs/, times: 1, act: { until } })
    const pulled = alice.ask(`/v2/team-a/app/blobs/${layer.digest}`)
    await expect.poll(() => registry.bodyBytesSent).toBeGreaterThan(0)
    await compare()
    release()
    expect((await pulled).body.equals(image.bytesOf(layer.digest))).toBe(true)
    expect(await alice.statusOf('team-a/app/tags/list')).toBe(200)
    await compare()
    await registry.stop()
    await compare()

    expect(await alice.statusOf('team-a/app/manifests/v1')).toBe(200)
    expect(await alice.statusOf(`team-a/app/blobs/${layer.digest}`)).toBe(200)
  })
}

/** Basic alone knows users, not rights: the registry refuses bob by itself. */
function onlyAlice(registry: Awaited<ReturnType<typeof startTenants>>['registry']): void {
  registry.behave({
    match: ({ headers, path }) => headers.authorization === basicOf('bob') && path.startsWith('team-a'),
    act: { status: 403, body: '{}' },
  })
}

test('fault 75: what bob asks of upstream is the same for what is held and for what is not', async () => {
  const { registry, alice, bob, clock } = await startTenants()
  const image = registry.addImage('team-a/app', 'v1', { layers: 1 })
  const [layer = image.config] = image.layers
  await alice.statusOf('team-a/app/manifests/v1')
  await alice.statusOf(`team-a/app/blobs/${layer.digest}`)
  const asked: (readonly string[])[] = []

  for (const digest of [layer.digest, NOWHERE]) {
    const from = registry.requests.length
    clock.leap(20_000) // what was said no to is forgotten
    await bob.statusOf(`team-a/app/blobs/${digest}`)
    await bob.statusOf(`team-a/app/manifests/${digest}`)
    asked.push(askedSince(registry, from))
  }

  expect(asked[0]?.length).toBeGreaterThan(0)
  expect(asked[0]).toEqual(asked[1])
})

test('fault 75: while upstream fails a digest that is held elsewhere takes the questions of one that is not', async () => {
  const { registry, house, alice } = await startTenants()
  const image = registry.addImage('team-a/app', 'v1', { layers: 1 })
  const [layer = image.config] = image.layers
  await alice.statusOf(`team-a/app/blobs/${layer.digest}`)
  registry.behave({ match: /open.*blobs/, act: { status: 500, body: '{}' } })
  const asked: number[] = []
  const seen: unknown[] = []

  for (const digest of [layer.digest, NOWHERE]) {
    const from = registry.requests.length
    seen.push(seenOf(await house.getBlob('open/app', digest)))
    asked.push(registry.requests.slice(from).filter((each) => each.includes('/open/app/blobs/')).length)
  }

  expect(asked).toEqual([2, 2])
  expect(seen[0]).toEqual(seen[1])
})

test("what is private takes credentials: without any a challenge, and what can't be read is none", async () => {
  const { registry, house } = await startTenants()
  registry.addImage('team-a/app', 'v1')

  const answers = [
    await house.getManifest('team-a/app', 'v1'),
    await house.getManifest('team-a/app', 'v1', { headers: { authorization: 'Basic !!!' } }),
    await house.getManifest('team-a/app', 'v1', { headers: { authorization: 'Negotiate abc' } }),
    await house.getBlob('team-a/app', NOWHERE),
    await house.ask('/v2/team-a/app/tags/list'),
    await house.ask(`/v2/team-a/app/referrers/${NOWHERE}`),
  ]

  expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401, 401])
  expect(answers.every(({ headers }) => headers['www-authenticate']?.startsWith('Bearer realm='))).toBe(true)
  expect(registry.requests).toEqual([])
})

test('fault 74: no account of ours reads what is private, nor does one caller’s token serve another', async () => {
  const { registry, alice, bob, house } = await startTenants()
  const image = registry.addImage('team-c/app', 'v1', { layers: 1 })
  registry.addImage('open/app', 'v1')
  const [layer = image.config] = image.layers

  const statuses = [
    await alice.statusOf('team-c/app/manifests/v1'),
    await bob.statusOf('team-c/app/manifests/v1'),
    await alice.statusOf(`team-c/app/blobs/${layer.digest}`),
    await bob.statusOf('team-c/app/tags/list'),
  ]
  const users = registry.tokens.requests.map(({ user }) => user)
  await house.getManifest('open/app', 'v1', { headers: { authorization: basicOf('alice') } })

  expect(statuses).toEqual([200, 200, 200, 200])
  expect(new Set(users)).toEqual(new Set(['alice', 'bob']))
  expect(registry.tokens.requests.slice(users.length).map(({ user }) => user)).toEqual(['bot'])
})

test('fault 76: a manifest of bob’s that names alice’s layer opens it neither held nor filling, whole nor in part', async () => {
  const { registry, house, alice, bob, clock } = await startTenants()
  const image = registry.addImage('team-a/app', 'v1', { layers: 1, layerBytes: 400_000 })
  const [layer = image.config] = image.layers
  registry.addManifest('team-b/app', image.manifest, undefined, 'v1')
  registry.hide('team-b/app', layer.digest)
  registry.hide('team-b/app', NOWHERE)
  expect(await bob.statusOf('team-b/app/manifests/v1')).toBe(200)
  const { promise: until, resolve: release } = Promise.withResolvers<void>()
  registry.behave({ match: /GET .*team-a.*blobs/, times: 1, act: { until } })
  const blob = `team-b/app/blobs/${layer.digest}`
  const seen: number[] = []

  const pulled = alice.ask(`/v2/team-a/app/blobs/${layer.digest}`)
  await expect.poll(() => registry.bodyBytesSent).toBeGreaterThan(0)
  for (let turn = 0; turn < 2; turn++) {
    seen.push(await bob.statusOf(blob), await bob.statusOf(blob, { method: 'HEAD' }))
    seen.push(await bob.statusOf(blob, { headers: { range: 'bytes=0-9' } }))
    release()
    await pulled
    await house.quiet()
    clock.leap(11_000) // what was said no to is forgotten
  }

  expect((await pulled).body).toEqual(image.bytesOf(layer.digest))
  expect(new Set(seen)).toEqual(new Set([404]))
})

test('a repository that both may read is fetched once, and shown to each by a verdict of his own', async () => {
  const { registry, alice, bob } = await startTenants()
  const image = registry.addImage('team-c/app', 'v1', { layers: 1, layerBytes: 200_000 })
  const [layer = image.config] = image.layers
  const path = `/v2/team-c/app/blobs/${layer.digest}`

  const [first, second] = await Promise.all([alice.ask(path), bob.ask(path, { headers: { range: 'bytes=5-9' } })])

  expect(first.body).toEqual(image.bytesOf(layer.digest))
  expect(second.body).toEqual(image.bytesOf(layer.digest).subarray(5, 10))
  expect(registry.bodyBytesSent).toBeLessThan(201_000)
})

test('fault 80: neither name nor password of a caller is in a line that is written', async () => {
  const { registry, alice, bob, house } = await startTenants()
  registry.addImage('team-a/app', 'v1', { layers: 1 })
  await alice.statusOf('team-a/app/manifests/v1')
  await bob.statusOf('team-a/app/manifests/v1')
  registry.behave({ match: /token/, act: { status: 500, body: 'alice-canary' } })
  await alice.statusOf('team-a/other/manifests/v1')
  await alice.statusOf(`team-a/app/blobs/${NOWHERE}`)

  const written = [...house.logged, ...house.access].join('\n')

  for (const secret of ['alice', 'bob', 'canary', 'tok-']) expect(written).not.toContain(secret)
  expect(await house.number('millpond_verdicts_total{verdict="yes"}')).toBe(1)
  expect(await house.number('millpond_verdicts_total{verdict="no"}')).toBe(1)
})
