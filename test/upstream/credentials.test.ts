import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseRepositoryPath } from '../../src/oci/names.ts'
import { realmOf } from '../../src/upstream/realm.ts'
import { startThief } from '../support/thief.ts'
import { startUpstream } from '../support/upstream.ts'
import { bytesOf, faultOf, latest, named, never, openBlob, path, resolverOf, upstreamAt } from './support.ts'
import { expectNothingStolen } from './thief-support.ts'

const SECRET = 'swordfish'
const bot = { username: 'bot', password: SECRET }
const { lookup } = resolverOf()

test('fault 71: a realm at a stranger gets no credentials; it may be asked anonymously', async () => {
  await using thief = await startThief()
  await using fake = await startUpstream({
    auth: { kind: 'bearer', users: { bot: SECRET }, realm: `${named(thief.origin, 'thief.example')}/token` },
  })
  fake.addImage('library/a', 'latest')
  const origin = named(fake.origin, 'registry.good.example')
  await using upstream = upstreamAt(origin, { config: { accounts: [bot] }, parts: { lookup } })

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed realm')
  expect(thief.loot.length).toBeGreaterThan(0)
  expectNothingStolen(thief.loot, SECRET)
})

for (const [host, config, why] of [
  ['auth.good.example', {}, 'its registrable domain is that of the endpoint'],
  ['registry.good.example', {}, 'it is on the host of the endpoint'],
  ['auth.other.example', { realms: ['auth.other.example:PORT'] }, 'it was named in the configuration'],
] as const) {
  test(`fault 71: the realm ${host} gets the credentials: ${why}`, async () => {
    await using tokens = await startUpstream()
    const realm = `${named(tokens.origin, host)}/token`
    await using fake = await startUpstream({ auth: { kind: 'bearer', users: { bot: SECRET }, realm } })
    const realms = 'realms' in config ? config.realms.map((each) => each.replace('PORT', String(tokens.port))) : []
    const origin = named(fake.origin, 'registry.good.example')
    await using upstream = upstreamAt(origin, { config: { accounts: [bot], realms }, parts: { lookup } })

    await upstream.getManifest(path, latest, never)

    expect(tokens.headersSeen[0]?.authorization).toBe(`Basic ${Buffer.from(`bot:${SECRET}`).toString('base64')}`)
    expect(fake.headersSeen.every(({ authorization = '' }) => !authorization.startsWith('Basic'))).toBe(true)
  })
}

for (const [realm, from, realms, want, why] of [
  ['https://auth.docker.io/token', 'https://registry-1.docker.io', [], true, 'one registrable domain'],
  ['https://evil-docker.io/token', 'https://registry-1.docker.io', [], false, 'only looks alike'],
  ['https://docker.io.evil.example/t', 'https://registry-1.docker.io', [], false, 'a prefix is nothing'],
  ['https://b.github.io/t', 'https://a.github.io', [], false, 'two tenants of a hoster'],
  ['https://10.0.0.2/t', 'https://10.0.0.1', [], false, 'addresses have no domain'],
  ['https://10.0.0.1:444/t', 'https://10.0.0.1', [], true, 'the host itself, at another port'],
  ['https://other/t', 'https://registry', [], false, 'bare names have no domain'],
  ['https://auth.example/t', 'https://reg.test', ['auth.example'], true, 'configured'],
  ['https://auth.example:444/t', 'https://reg.test', ['auth.example'], false, 'configured for another port'],
  ['https://auth.example/t', 'https://reg.test', ['https://auth.example/x'], true, 'configured as a URL'],
  ['http://reg.test/t', 'http://reg.test', [], true, 'the upstream itself is without TLS'],
  ['http://auth.example/t', 'https://reg.test', ['auth.example'], 'realm', 'no TLS behind TLS, even if configured'],
  ['ftp://reg.test/t', 'https://reg.test', [], 'realm', 'no web address'],
  ['/token', 'https://reg.test', [], 'realm', 'no address at all'],
] as const) {
  test(`fault 71: the realm ${realm} of ${from}: ${why}`, async () => {
    const judged = async () => realmOf(realm, { url: new URL(from), isEndpoint: true, realms })

    if (want === 'realm') expect(await faultOf(judged())).toBe('upstreamFailed realm')
    else expect((await judged()).mayHaveAccount).toBe(want)
    if (want === true && realms.length === 0)
      expect(realmOf(realm, { url: new URL(from), isEndpoint: false, realms }).mayHaveAccount).toBe(false)
    if (want === false)
      expect(() => realmOf(realm, { url: new URL(from), isEndpoint: false, realms })).toThrow('another')
  })
}

test('fault 72: nothing of ours goes along a redirect to another origin, whatever was asked', async () => {
  await using thief = await startThief('x')
  for (const kind of ['basic', 'bearer'] as const) {
    await using fake = await startUpstream({ auth: { kind, users: { bot: SECRET } } })
    const { config: layer } = fake.addImage('library/a', 'latest')
    await using upstream = upstreamAt(fake.origin, { config: { accounts: [bot] } })
    await upstream.getManifest(path, latest, never)
    fake.behave({ match: /./, act: { redirect: `${thief.origin}/stolen` } })

    await bytesOf(await openBlob(upstream, layer.digest, 0, 5)).catch(() => undefined) // a thief's 200 is no blob
    await upstream.headBlob(path, layer.digest, never)
    await upstream.getManifest(path, latest, never)
    await upstream.headManifest(path, latest, never)
  }
  expect(thief.loot.length).toBe(10) // a HEAD without a length is followed by a probe
  expectNothingStolen(thief.loot, SECRET)
})

test('fault 72: a token realm that redirects to a stranger takes no password there', async () => {
  await using thief = await startThief('{"token":"forged"}')
  await using fake = await startUpstream({ auth: { kind: 'bearer', users: { bot: SECRET } } })
  fake.addImage('library/a', 'latest')
  fake.behave({ match: /token/, act: { redirect: `${thief.origin}/token` } })
  await using upstream = upstreamAt(fake.origin, { config: { accounts: [bot] } })

  expect(await upstream.getManifest(path, latest, never)).toEqual({ at: 'denied' })
  expect(thief.loot.length).toBeGreaterThan(0)
  expectNothingStolen(thief.loot, SECRET)
})

test('fault 72: a redirect back home is a stranger’s wish: it gets no credentials either', async () => {
  await using fake = await startUpstream({ auth: { kind: 'basic', users: { bot: SECRET } } })
  await using middle = await startUpstream()
  fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(fake.origin, { config: { accounts: [bot] } })
  fake.behave({ match: /manifests\/latest$/, act: { redirect: `${middle.origin}/hop` } })
  middle.behave({ match: /hop/, act: { redirect: `${fake.origin}/v2/library/a/manifests/other` } })

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed redirect')
  expect(fake.headersSeen.at(-1)?.authorization).toBeUndefined()
})

test('a redirect on the same origin keeps the credentials; a stranger that challenges is met anonymously', async () => {
  await using mirror = await startUpstream({ auth: { kind: 'bearer' } })
  await using fake = await startUpstream({ auth: { kind: 'basic', users: { bot: SECRET } } })
  const image = fake.addImage('library/a', 'latest')
  mirror.addImage('moved/a', 'latest')
  await using upstream = upstreamAt(fake.origin, { config: { accounts: [bot] } })
  fake.behave({ match: /manifests\/latest$/, times: 1, act: { redirect: `/v2/library/a/manifests/${image.digest}` } })

  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found', isPublic: false })
  fake.behave({ match: /latest$/, act: { redirect: `${mirror.origin}/v2/moved/a/manifests/latest` } })
  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  expect(mirror.tokens.requests.map(({ user }) => user)).toEqual([undefined])
})

test('fault 73: credentials are for a host and port exactly, not for names that begin alike', async () => {
  await using thief = await startThief('x')
  await using fake = await startUpstream({ auth: { kind: 'basic', users: { bot: SECRET } } })
  fake.addImage('library/a', 'latest')
  const origin = named(fake.origin, 'reg.example')
  await using upstream = upstreamAt(origin, { config: { accounts: [bot] }, parts: { lookup } })
  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found', isPublic: false })
  for (const host of ['reg.example.evil', 'reg.example', 'xreg.example']) {
    fake.behave({ match: /manifests/, act: { redirect: `${named(thief.origin, host)}/stolen` } })
    await upstream.getManifest(path, latest, never)
  }

  expect(thief.loot).toHaveLength(3)
  expectNothingStolen(thief.loot, SECRET)
})

test('fault 66: what goes upstream is written here: the same few headers for everyone', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(fake.origin)
  await upstream.getManifest(path, latest, never)
  await bytesOf(await openBlob(upstream, image.config.digest, 1, 5))

  const names = fake.headersSeen.map((headers) => Object.keys(headers).sort())
  expect(names[0]).toEqual(['accept', 'accept-encoding', 'connection', 'host', 'user-agent'])
  expect(names[1]).toEqual(['accept', 'accept-encoding', 'connection', 'host', 'range', 'user-agent'])
  expect(fake.headersSeen[0]?.accept).toContain('application/vnd.docker.distribution.manifest.list.v2+json')
})

test('an account is chosen by the first pattern that holds the repository, and its file is read anew', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'upstream-'))
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, 'old\n')
  await using fake = await startUpstream({ auth: { kind: 'basic', users: { bot: SECRET } } })
  fake.addImage('team/deep/b', 'latest')
  const accounts = [{ username: 'bot', passwordFile, repositories: ['team/**'] }]
  await using upstream = upstreamAt(fake.origin, { config: { accounts } })
  const deep = parseRepositoryPath('team/deep/b')

  expect(await upstream.getManifest(deep, latest, never)).toEqual({ at: 'denied' })
  await writeFile(passwordFile, `${SECRET}\n`)
  expect(await upstream.getManifest(deep, latest, never)).toMatchObject({ at: 'found' })
  expect(await upstream.getManifest(path, latest, never)).toEqual({ at: 'denied' })
  await rm(folder, { recursive: true })
})
