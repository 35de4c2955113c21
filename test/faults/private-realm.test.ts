import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startTenants, Tenant } from './tenants.ts'

const bearerOf = (token: string) => ({ authorization: `Bearer ${token}` })

/** Tenants who come with tokens of our own realm, as docker and podman do. */
async function startTokenTenants(options: Parameters<typeof startTenants>[0] = {}) {
  const all = await startTenants(options)
  const { registry, house } = all
  const image = registry.addImage('team-a/app', 'v1')
  registry.addImage('open/app', 'v1')
  const tokenBy = async (headers: Record<string, string> = {}) => {
    const { body } = await house.ask('/token?service=millpond&scope=repository:team-a/app:pull', { headers })
    return String(JSON.parse(body.toString()).token)
  }
  const tokenOf = ({ authorization }: Tenant) => tokenBy({ authorization })
  const paths = [
    `manifests/v1`,
    `manifests/${image.digest}`,
    `blobs/${image.config.digest}`,
    'tags/list',
    `referrers/${image.digest}`,
  ]
  const statusesFor = (headers: Record<string, string>, repository = 'team-a/app') =>
    Promise.all(paths.map(async (path) => (await house.ask(`/v2/${repository}/${path}`, { headers })).status))
  return { ...all, image, tokenBy, tokenOf, paths, statusesFor }
}

test('fault 75: a token of our realm opens what its credentials open upstream, and nothing else', async () => {
  const { alice, bob, tokenOf, tokenBy, statusesFor } = await startTokenTenants()

  const ofAlice = await statusesFor(bearerOf(await tokenOf(alice)))
  const ofBob = await statusesFor(bearerOf(await tokenOf(bob)))
  const ofNobody = await statusesFor(bearerOf(await tokenBy()))
  const without = await statusesFor({})

  expect(ofAlice).toEqual([200, 200, 200, 200, 200])
  expect(ofBob).toEqual([404, 404, 404, 404, 404])
  expect(ofNobody).toEqual([401, 401, 401, 401, 401])
  expect(without).toEqual(ofNobody)
})

test('each 401 of a private repository has the one challenge, by GET and HEAD, and says when a token opens nothing', async () => {
  const { house, paths, tokenBy } = await startTokenTenants()
  const challenge = `Bearer realm="${house.origin}/token",service="millpond"`
  const told = new Set<string>()

  for (const path of paths) {
    for (const method of ['GET', 'HEAD']) {
      for (const headers of [{}, bearerOf(await tokenBy()), bearerOf('stale'), { authorization: 'Negotiate x' }]) {
        const { status, headers: of, body } = await house.ask(`/v2/team-a/app/${path}`, { method, headers })
        expect([status, method === 'HEAD' ? body.length : 0]).toEqual([401, 0])
        told.add(String(of['www-authenticate']))
      }
    }
  }

  expect([...told].sort()).toEqual([challenge, `${challenge},error="invalid_token"`].sort())
})

test('what is public is shown to all, whatever they bring', async () => {
  const { bob, tokenBy, tokenOf, house } = await startTokenTenants()

  for (const headers of [{}, bearerOf('stale'), bearerOf(await tokenBy()), bearerOf(await tokenOf(bob))]) {
    expect((await house.getManifest('open/app', 'v1', { headers })).status).toBe(200)
  }
})

test('a token of before a restart opens nothing, the challenge says so, and a new one opens', async () => {
  const { house, alice, tokenOf, statusesFor } = await startTokenTenants()
  const before = bearerOf(await tokenOf(alice))
  expect(await statusesFor(before)).toEqual([200, 200, 200, 200, 200])

  await house.restart()

  const told = await house.getManifest('team-a/app', 'v1', { headers: before })
  expect([told.status, told.headers['www-authenticate']]).toEqual([
    401,
    expect.stringContaining(',error="invalid_token"'),
  ])
  expect(await statusesFor(bearerOf(await tokenOf(alice)))).toEqual([200, 200, 200, 200, 200])
})

test('a token goes on for its five minutes and no longer, whatever the wall clock does', async () => {
  const { house, clock, alice, tokenOf } = await startTokenTenants()
  const headers = bearerOf(await tokenOf(alice))
  const statusOf = async () => (await house.getManifest('team-a/app', 'v1', { headers })).status

  clock.leap(295_000)
  expect(await statusOf()).toBe(200)
  clock.leap(10_000)

  expect(await statusOf()).toBe(401)
})

test('fault 79: neither our tokens nor what they are asked for with go upstream, but the credentials to its realm', async () => {
  const { registry, alice, tokenOf, statusesFor } = await startTokenTenants()
  const token = await tokenOf(alice)

  await statusesFor(bearerOf(token))

  const sent = registry.headersSeen.flatMap(({ authorization }) => authorization ?? [])
  expect(sent.filter((each) => each.includes(token))).toEqual([])
  expect(registry.tokens.requests.length).toBeGreaterThan(0)
  expect(new Set(registry.tokens.requests.map(({ user }) => user))).toEqual(new Set(['alice']))
  const elsewhere = registry.requests.filter((_, at) => registry.headersSeen[at]?.authorization === alice.authorization)
  expect(elsewhere.filter((request) => !request.startsWith('GET /token'))).toEqual([])
})

test('fault 80: no credentials of a caller, in no form, and no token of ours is in a line, a number, an answer or a file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-realm-secrets-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const { house, registry, alice, tokenOf, image, statusesFor } = await startTokenTenants({ house: { folder } })
  const wrong = new Tenant(house, 'alice', 'canary-wrong')
  const token = await tokenOf(alice)
  const tokens = [token, await tokenOf(wrong)]
  const form = (text: string) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': `${text.length}` }
    return house.ask('/token', { method: 'POST', headers, body: Buffer.from(text) })
  }

  const told = [
    await house.ask('/v2/', { headers: { authorization: alice.authorization } }),
    await form('grant_type=canary&username=alice&password=alice-canary'),
    await form(`grant_type=password&username=alice&password=${'canary'.repeat(4_000)}`),
    await house.ask('/token/canary?account=canary', { headers: { authorization: alice.authorization } }),
    await house.ask(`/v2/team-a/app/manifests/v1?access_token=${token}`, { headers: bearerOf(`${token}x`) }),
  ]
  for (const each of tokens) await statusesFor(bearerOf(each))
  registry.behave({ match: /token/, act: { status: 500, body: 'canary' } })
  registry.tokens.revoke()
  told.push(await house.getBlob('team-a/app', image.config.digest, { headers: { authorization: wrong.authorization } }))
  const metrics = await house.askAdmin('/metrics')
  await house.stop()
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  const kept = await Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'latin1')))

  const answers = told.map(({ rawHeaders, body }) => `${rawHeaders.join()}${body.toString('latin1')}`)
  const written = [...house.logged, ...house.access, ...answers, String(metrics.body), ...kept].join('\n')
  expect(written).toContain('"path":"/token"')
  const basics = [alice, wrong].map(({ authorization }) => authorization.replace('Basic ', ''))
  const secrets = ['alice-canary', 'canary-wrong', 'canarycanary', 'account=', 'access_token=', ...basics, ...tokens]
  expect(secrets.filter((secret) => written.includes(secret))).toEqual([])
})
