import { expect, test } from 'vitest'
import { startThief, type Thief } from '../support/thief.ts'
import { TEST_TLS } from '../support/tls.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'
import { latest, named, never, openBlob, path, resolverOf, type UpstreamAt, upstreamAt } from './support.ts'
import { caFile, expectNothingStolen, headersIn, portsAlike } from './thief-support.ts'

const SECRET = 'swordfish'
const accounts = [{ username: 'bot', password: SECRET }]
const users = { bot: SECRET }
const { lookup } = resolverOf()

/** An upstream at a registry that has an account there. */
function accounted(fake: FakeUpstream, config: object = {}, host = 'registry.good.example'): UpstreamAt {
  return upstreamAt(named(fake.origin, host), { config: { accounts, ...config }, parts: { lookup } })
}

/** Asks for all that can be asked for; what becomes of it is the thief's to tell. */
async function askAll(upstream: UpstreamAt, fake: FakeUpstream): Promise<void> {
  const { config: layer } = fake.addImage('library/a', 'latest')
  await Promise.allSettled([
    upstream.getManifest(path, latest, never),
    upstream.headManifest(path, latest, never),
    upstream.headBlob(path, layer.digest, never),
    openBlob(upstream, layer.digest, 1, 5),
    upstream.getTags(path, { n: 5, last: 'a' }, never),
    upstream.getReferrers(path, layer.digest, { artifactType: 'x/y' }, never),
  ])
}

/** It was asked as the account: what would be stolen is there to be stolen. */
const expectUsed = (fake: FakeUpstream) =>
  expect(fake.headersSeen.some(({ authorization }) => authorization !== undefined)).toBe(true)

for (const [endpoint, realm, why] of [
  ['registry.good.example', 'http://thief.example:PORT/token', 'another domain'],
  ['registry.good.example', 'http://registry.good.example.evil:PORT/token', 'it only begins alike'],
  ['registry.good.example', 'http://xregistry-good.example:PORT/token', 'it only ends alike'],
  ['registry.good.example', 'http://registry.good.example@thief.example:PORT/token', 'the user of a URL is no host'],
  ['registry.good.example', 'http://bot:pw@thief.example:PORT/token', 'nor is a user with a password'],
  ['registry.good.example', 'http://thief.example:PORT/token#registry.good.example', 'nor a fragment'],
  ['good.github.io', 'http://evil.github.io:PORT/token', 'two tenants of a hoster'],
  ['good.co.uk', 'http://evil.co.uk:PORT/token', 'two owners below one suffix'],
  ['good.s3.amazonaws.com', 'http://evil.s3.amazonaws.com:PORT/token', 'two buckets'],
] as const) {
  test(`fault 71: an upstream at ${endpoint} that names the realm ${realm} gets it no credentials: ${why}`, async () => {
    await using thief = await startThief()
    const named = realm.replace('PORT', new URL(thief.origin).port)
    await using fake = await startUpstream({ auth: { kind: 'bearer', users, realm: named } })

    await using upstream = accounted(fake, {}, endpoint)

    await askAll(upstream, fake)

    expect(thief.loot.length).toBeGreaterThan(0)
    expectNothingStolen(thief.loot, SECRET)
    expect(headersIn(thief.loot)).toEqual(['accept', 'accept-encoding', 'connection', 'host', 'user-agent'])
  })
}

test('fault 71: a realm that was named for credentials is its host and port, nothing beside it', async () => {
  await using thief = await startThief()
  const port = Number(new URL(thief.origin).port)
  for (const realms of [
    [`auth.example:${port + 1}`],
    ['auth.example'],
    [`auth.exampl:${port}`],
    ['auth.example.evil'],
  ]) {
    const realm = `http://auth.example:${port}/token`
    await using fake = await startUpstream({ auth: { kind: 'bearer', users, realm } })
    await using upstream = accounted(fake, { realms })

    await askAll(upstream, fake)
  }

  expect(thief.loot.length).toBeGreaterThan(0)
  expectNothingStolen(thief.loot, SECRET)
})

test('fault 72: a redirect’s host that names the endpoint’s own realm is not brought the token of that', async () => {
  await using fake = await startUpstream({ auth: { kind: 'bearer', users } })
  const challenge = `Bearer realm="${named(fake.origin, 'registry.good.example')}/token",scope="repository:library/a:pull"`
  await using stranger = await startUpstream({ auth: { kind: 'bearer', challenge } })
  await using upstream = accounted(fake)
  await askAll(upstream, fake)
  const asked = fake.tokens.requests.length
  fake.behave({ match: /v2/, act: { redirect: ({ url }) => `${named(stranger.origin, 'thief.example')}${url}` } })

  await askAll(upstream, fake)

  expect(stranger.requests.length).toBeGreaterThan(0)
  expect(stranger.headersSeen.filter(({ authorization }) => authorization !== undefined)).toEqual([])
  // for the endpoint's own challenges alone
  expect(fake.tokens.requests.slice(asked).every(({ user }) => user === 'bot')).toBe(true)
})

const STRANGERS: readonly (readonly [why: string, of: (fake: FakeUpstream, thief: Thief) => string])[] = [
  ['another host', (_, thief) => named(thief.origin, 'thief.example')],
  ['another port', (_, thief) => named(thief.origin, 'registry.good.example')],
  ['a host of the same domain', (_, thief) => named(thief.origin, 'cdn.good.example')],
  ['a host that begins alike', (_, thief) => named(thief.origin, 'registry.good.example.evil')],
  ['a dot more', (_, thief) => named(thief.origin, 'registry.good.example.')],
  ['the endpoint as a user', (fake, thief) => named(thief.origin, `registry.good.example:${fake.port}@thief.example`)],
  ['a host without a scheme', (_, thief) => named(thief.origin, 'thief.example').replace('http:', '')],
]

for (const kind of ['basic', 'bearer'] as const) {
  for (const [why, strangerOf] of STRANGERS) {
    test(`fault 72: a redirect to ${why} takes no header of ours along, nor a cookie of anyone’s (${kind})`, async () => {
      await using thief = await startThief('x')
      await using fake = await startUpstream({ auth: { kind, users } })
      await using upstream = accounted(fake)
      await askAll(upstream, fake)
      expectUsed(fake)
      const headers = {
        location: `${strangerOf(fake, thief)}/stolen`,
        'set-cookie': 'session=canary; Domain=good.example',
      }
      fake.behave({ match: /v2/, act: { status: 307, headers } })

      await askAll(upstream, fake)

      expect(thief.loot.length).toBeGreaterThan(5)
      expectNothingStolen(thief.loot, SECRET)
      const sent = ['accept', 'accept-encoding', 'connection', 'host', 'range', 'user-agent']
      expect(headersIn(thief.loot)).toEqual(sent)
    })
  }

  test(`fault 72: a redirect to another scheme of the same host takes no header of ours along (${kind})`, async () => {
    await using thief = await startThief('x', { tls: TEST_TLS })
    await using fake = await startUpstream({ auth: { kind, users } })
    await using ca = await caFile()
    await using upstream = accounted(fake, { connect: { ca: ca.file } }, 'registry.test')
    await askAll(upstream, fake)
    expectUsed(fake)
    fake.behave({ match: /v2/, act: { redirect: `${named(thief.origin, 'registry.test')}/stolen` } })

    await askAll(upstream, fake)

    expect(thief.loot.length).toBeGreaterThan(5)
    expectNothingStolen(thief.loot, SECRET)
  })

  test(`fault 73: an origin whose text goes on where the endpoint’s ends is a stranger, and so is its opposite (${kind})`, async () => {
    const ports = await portsAlike()
    for (const [ours, theirs] of [ports, ports.toReversed()]) {
      await using thief = await startThief('x', { port: theirs })
      await using fake = await startUpstream({ port: ours, auth: { kind, users } })
      await using upstream = accounted(fake, {}, '127.0.0.1')
      await askAll(upstream, fake)
      expectUsed(fake)
      fake.behave({ match: /v2/, act: { redirect: `${thief.origin}/stolen` } })

      await askAll(upstream, fake)

      expect(thief.loot.length).toBeGreaterThan(5)
      expectNothingStolen(thief.loot, SECRET)
    }
  })
}
