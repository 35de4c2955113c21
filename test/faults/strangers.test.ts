import { expect, test } from 'vitest'
import { configSchema } from '../../src/base/config.ts'
import { watchDialled } from '../support/dialled.ts'
import { startHouse } from '../support/house.ts'
import { startProxy } from '../support/proxy.ts'
import { startThief } from '../support/thief.ts'
import { startUpstream } from '../support/upstream.ts'

/** What a client may have for others, and what it may try on us. */
const CLIENT = {
  authorization: 'Basic Y2FuYXJ5OmNhbmFyeQ==',
  cookie: 'session=canary',
  'proxy-authorization': 'Basic Y2FuYXJ5',
  'x-registry-auth': 'canary',
  'x-forwarded-for': '10.0.0.1',
  forwarded: 'for=10.0.0.1',
  referer: 'https://canary.example/',
}

test('fault 79: of a client’s headers none reaches a mirror or where it leads, and no cookie comes back', async () => {
  await using thief = await startThief('x')
  await using mirror = await startUpstream({ auth: { kind: 'bearer' } })
  await using house = await startHouse(mirror, { upstreams: { 'push.test': { of: mirror, push: true } } })
  const image = mirror.addImage('library/a', 'v1')
  const told = { 'set-cookie': 'upstream=canary', location: '/canary' }
  mirror.behave({ match: ({ kind }) => kind !== 'token', act: { headers: told } })
  const paths = ['', 'push.test/'].flatMap((prefix) => [
    `/v2/${prefix}library/a/manifests/v1`,
    `/v2/${prefix}library/a/manifests/none`,
    `/v2/${prefix}library/a/manifests/${image.digest}`,
    `/v2/${prefix}library/a/blobs/${image.layers[0]?.digest}`,
    `/v2/${prefix}library/a/tags/list?n=2&access_token=canary`,
    `/v2/${prefix}library/a/referrers/${image.digest}`,
  ])

  const answers = []
  for (const path of paths) answers.push(await house.ask(path, { headers: CLIENT }))
  mirror.behave({ match: ({ kind }) => kind === 'blob', act: { redirect: `${thief.origin}/blob` } })
  await house.ask(`/v2/library/a/blobs/${image.layers[1]?.digest}`, { headers: CLIENT })

  expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(7)
  expect(mirror.requests.length).toBeGreaterThan(6)
  expect(thief.loot.length).toBeGreaterThan(0)
  const sent = JSON.stringify([mirror.requests, mirror.headersSeen, thief.loot])
  for (const secret of ['canary', 'Y2FuYXJ5', 'cookie', 'proxy-authorization', 'forwarded', 'referer']) {
    expect(sent).not.toContain(secret)
  }
  for (const { headers } of answers) {
    for (const name of ['set-cookie', 'www-authenticate', 'location']) expect(headers).not.toHaveProperty(name)
  }
})

test('fault 14: while the token server lies, what is held is still served, and its tags for as long as they may be', async () => {
  await using registry = await startUpstream({ auth: { kind: 'bearer' } })
  const tags = [{ fresh: '0s', stale: '0s', staleIfError: '1h' }]
  await using house = await startHouse(registry, { upstreams: { 'registry.test': { tags } } })
  const image = registry.addImage('library/a', 'v1', { layers: 1 })
  const layer = image.layers[0]?.digest ?? ''
  const pull = async () => [
    (await house.getManifest('library/a', 'v1')).status,
    (await house.getManifest('library/a', image.digest)).status,
    (await house.getBlob('library/a', layer)).status,
    (await house.getBlob('library/a', image.config.digest)).status,
  ]
  expect(await pull()).toEqual([200, 200, 200, 200])
  await house.quiet()

  for (const body of [
    '<html>login</html>',
    '{"token":"x","expires_in":"x"}',
    '{"token":"x","expires_in":1e400}',
    '[]',
  ]) {
    registry.behave({ match: /token/, act: { body } })
    registry.tokens.revoke()

    expect(await pull(), body).toEqual([200, 200, 200, 200])
    const { headers } = await house.getManifest('library/a', 'v1')
    expect(headers['cache-status']).toMatch(/^millpond; fwd=stale/)
    expect((await house.getManifest('library/a', 'other')).status).toBe(502)
  }
})

test('fault 82: neither ns, prefix, Host nor an absolute target of a client makes us dial', async () => {
  await using thief = await startThief()
  await using registry = await startUpstream()
  await using house = await startHouse(registry, { wellKnown: true })
  registry.addImage('library/a', 'v1')
  const dialled = watchDialled()
  const own = new URL(house.origin).host
  const targets = [
    ...[new URL(thief.origin).host, '127.0.0.1', '127.0.0.1:22', 'localhost', '[::1]', '[::ffff:7f00:1]', '0x7f000001'],
    ...['169.254.169.254', '10.0.0.1', 'metadata.google.internal', 'ghcr.io.evil.example', 'u:p@ghcr.io', 'ghcr.io.'],
    ...['ghcr.io:444', 'ghcr.io/../x', 'http://127.0.0.1', '//127.0.0.1', 'ghcr.io%00'],
  ]

  for (const target of targets) {
    for (const path of [
      `/v2/library/a/manifests/v1?ns=${encodeURIComponent(target)}`,
      `/v2/library/a/blobs/sha256:${'a'.repeat(64)}?ns=${encodeURIComponent(target)}`,
      `/v2/library/a/tags/list?ns=${encodeURIComponent(target)}`,
      `/${encodeURIComponent(target)}/v2/library/a/manifests/v1`,
    ]) {
      const { status } = await house.ask(path)
      expect([400, 404], `${path}: ${status}`).toContain(status)
    }
  }

  expect(thief.loot).toEqual([])
  expect(registry.requests).toEqual([])
  expect(dialled.filter((address) => address !== own)).toEqual([])
})

test('fault 83: an egress proxy at a private address takes all that goes out, blobs too, and is led nowhere near', async () => {
  await using proxy = await startProxy()
  await using registry = await startUpstream()
  const image = registry.addImage('library/a', 'v1')
  const endpoints = [registry.origin.replace('127.0.0.1', 'reg.example')]
  const upstreams = { 'registry.test': { default: true, endpoints } }
  await using house = await startHouse([], { upstreams, proxies: { http: proxy.origin } })
  const dialled = watchDialled()

  const manifest = await house.getManifest('library/a', 'v1')
  const blob = await house.getBlob('library/a', image.layers[0]?.digest ?? '')
  const before = proxy.requests.length
  registry.behave({ match: /blobs/, act: { redirect: 'http://10.0.0.9/layer' } })
  const refused = await house.getBlob('library/a', image.layers[1]?.digest ?? '')

  expect([manifest.status, blob.status, refused.status]).toEqual([200, 200, 502])
  const own = [house.origin, proxy.origin, registry.origin].map((origin) => new URL(origin).host)
  expect(dialled.filter((address) => !own.includes(address))).toEqual([])
  const hosts = proxy.requests.map((line) => new URL(line.split(' ')[1] ?? '').hostname)
  expect(new Set(hosts)).toEqual(new Set(['reg.example']))
  expect(before).toBeGreaterThan(1)
})

test('fault 81: who may not read a repository cannot tell whether it is there', async () => {
  await using registry = await startUpstream({
    auth: { kind: 'bearer', isPrivate: (path) => path.startsWith('secret/') },
  })
  await using house = await startHouse(registry)
  const image = registry.addImage('secret/there', 'v1')
  const answersOf = async (path: string) => {
    const asked = [
      house.getManifest(path, 'v1'),
      house.getManifest(path, image.digest),
      house.getBlob(path, image.layers[0]?.digest ?? ''),
      house.ask(`/v2/${path}/tags/list`),
    ]
    return (await Promise.all(asked)).map(({ status, body, headers }) => [status, String(body), Object.keys(headers)])
  }

  const there = await answersOf('secret/there')
  const absent = await answersOf('secret/absent')

  expect(there).toEqual(absent)
  expect(there.map(([status]) => status)).toEqual([403, 403, 403, 403])
})

test('fault 81: a name that looks privileged is a name like any, and what lists names is not there', async () => {
  await using registry = await startUpstream()
  await using house = await startHouse(registry)

  for (const name of ['admin', 'root', 'system', 'millpond', 'internal/admin', 'kube-system/x', '_catalog/a']) {
    const { status, headers } = await house.ask(`/v2/${name}/manifests/v1`)
    expect([400, 404], name).toContain(status)
    expect(headers).not.toHaveProperty('www-authenticate')
  }
  for (const path of [
    '/v2/_catalog',
    '/metrics',
    '/healthz',
    '/readyz',
    '/admin',
    '/debug/pprof',
    '/.env',
    '/config',
  ]) {
    expect((await house.ask(path)).status, path).toBe(404)
  }
})

test('fault 81: without a word in the configuration there is no account, and operators are on loopback', async () => {
  const config = configSchema.parse({})

  expect(config.admin.listen).toMatchObject({ host: '127.0.0.1' })
  expect(config.upstreams).toEqual({})
  expect(JSON.stringify(config)).not.toMatch(/password|token|secret/i)
})
