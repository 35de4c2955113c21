import { expect, test } from 'vitest'
import { callerOf } from '../../src/base/caller.ts'
import { Secret } from '../../src/base/config.ts'
import { parseReference, parseRepositoryPath } from '../../src/oci/names.ts'
import { readToken } from '../../src/upstream/tokens.ts'
import type { Act } from '../support/misbehave.ts'
import type { AuthOptions } from '../support/token-server.ts'
import { startUpstream } from '../support/upstream.ts'
import { faultOf, latest, never, openBlob, path, upstreamAt } from './support.ts'

const other = parseRepositoryPath('team/b')
const bot = { username: 'bot', password: 'pw' }

async function challenging(auth: Partial<AuthOptions> = {}, config: object = {}) {
  const fake = await startUpstream({ auth: { kind: 'bearer', users: { bot: 'pw', ann: 'wp' }, ...auth } })
  const image = fake.addImage('library/a', 'latest')
  fake.addImage('team/b', 'latest', { seed: 2 })
  const upstream = upstreamAt(fake.origin, { config })
  const dispose = async () => {
    await upstream[Symbol.asyncDispose]()
    await fake.stop()
  }
  return { fake, image, upstream, [Symbol.asyncDispose]: dispose }
}

for (const [act, want, why] of [
  [{ body: '<html>login</html>' }, 'upstreamFailed token', 'HTML'],
  [{ body: '{"token":""}' }, 'upstreamFailed token', 'an empty token'],
  [{ body: '{"token":"a\\r\\nx: y"}' }, 'upstreamFailed token', 'a token that would break a header'],
  [{ body: '[1]' }, 'upstreamFailed token', 'no object'],
  [{ body: '{"token":"x","expires_in":"x"}' }, 'upstreamFailed token', 'a life that is no number'],
  [{ body: '{"token":"x","expires_in":1e400}' }, 'upstreamFailed token', 'a life without end'],
  [{ body: `{"token":"x","pad":"${'x'.repeat(70_000)}"}` }, 'upstreamFailed size', 'more than 64 KiB'],
  [{ status: 500 }, 'upstreamFailed token', 'a failing token server'],
  [{ cutAfter: 10 }, 'upstreamFailed cut', 'a cut answer'],
  [{ hang: true }, 'upstreamSlow slow', 'silence'],
  [{ stallAfter: 10 }, 'upstreamSlow slow', 'silence in the middle'],
  [{ status: 429, headers: { 'retry-after': '7' } }, 'accountSpent limited', 'a limit of its own'],
] as const satisfies [Act, string, string][]) {
  test(`fault 14: the token endpoint answers with ${why}: ${want}`, async () => {
    const isSilent = want === 'upstreamSlow slow'
    const timeouts = isSilent ? { connect: '300ms', headers: '300ms', idle: '200ms' } : {}
    await using house = await challenging({}, { timeouts })
    house.fake.behave({ match: /token/, act })

    expect(await faultOf(house.upstream.getManifest(path, latest, never))).toBe(want)
  })
}

test('fault 14: an endless token is not read to its end', async () => {
  await using house = await challenging()
  house.fake.behave({ match: /token/, act: { body: Buffer.alloc(100_000_000, 'x'), framing: 'chunked' } })
  let receivedBytes = 0
  const onBytes = (bytes: number) => {
    receivedBytes += bytes
  }
  await using upstream = upstreamAt(house.fake.origin, { parts: { onBytes } })

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed size')
  expect(receivedBytes).toBeLessThan(4_000_000)
})

for (const [told, lifeS, why] of [
  ['', 60, 'none told'],
  [',"expires_in":0', 60, 'none at all'],
  [',"expires_in":5', 60, 'less than the least'],
  [',"expires_in":"300"', 300, 'a number in quotes'],
  [',"expires_in":300', 300, 'as told'],
  [',"expires_in":86400', 3600, 'an hour at the most'],
  [',"expires_in":-5', 60, 'less than nothing'],
  [',"expires_in":-1e400', 'token', 'no number'],
  [',"expires_in":1e400', 'token', 'no number'],
  [',"expires_in":"x"', 'token', 'no number'],
  [',"expires_in":[300,1]', 'token', 'no number'],
  [',"expires_in":{}', 'token', 'no number'],
  [',"expires_in":null', 60, 'none told'],
] as const) {
  test(`fault 14: of an answer with ${told.slice(1)} comes a life of ${lifeS}: ${why}`, async () => {
    const answer = Buffer.from(`{"token":"t","access_token":"a"${told}}`)

    if (lifeS === 'token') expect(await faultOf((async () => readToken(answer))())).toBe('upstreamFailed token')
    else expect(readToken(answer)).toEqual({ text: 'a', lifeMs: lifeS * 1000 })
  })
}

test('one token is fetched for all who wait for it, and one of them may leave', async () => {
  await using house = await challenging()
  house.fake.behave({ match: /token/, act: { delayMs: 100 } })
  const leaving = new AbortController()

  const left = faultOf(house.upstream.getManifest(path, latest, leaving.signal))
  const asks = Array.from({ length: 7 }, () => house.upstream.getManifest(path, latest, never))
  await expect.poll(() => house.fake.requestsOf('token')).toHaveLength(1)
  leaving.abort()
  const told = await Promise.all(asks)

  expect(await left).toMatch(/^upstreamFailed/)
  expect(told.every(({ at }) => at === 'found')).toBe(true)
  expect(house.fake.tokens.requests).toHaveLength(1)
})

test('a token that is revoked, or spent midway, is replaced once and costs nobody a pull', async () => {
  await using revoking = await challenging()
  await using spending = await challenging({ usesMax: 2 })
  await revoking.upstream.getManifest(path, latest, never)
  revoking.fake.tokens.revoke()

  expect(await revoking.upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  expect(revoking.fake.tokens.requests).toHaveLength(2)
  for (let count = 0; count < 6; count++) {
    expect(await spending.upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  }
  expect(spending.fake.tokens.requests).toHaveLength(3)
})

test('a held token that is answered 403 is replaced once: some registries say it so', async () => {
  await using house = await challenging()
  await house.upstream.getManifest(path, latest, never)
  house.fake.behave({ match: /manifests/, times: 1, act: { status: 403 } })

  expect(await house.upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  house.fake.behave({ match: /manifests/, times: 2, act: { status: 403 } })
  expect(await house.upstream.getManifest(path, latest, never)).toEqual({ at: 'denied' })
})

test('a challenge without a scope is met with pull for the repository, and a wider one is asked for once', async () => {
  await using house = await challenging({ scope: null })
  const narrow = ['Bearer realm="REALM",service="registry.test",scope="repository:other:pull"']
  await using wide = await challenging()
  const challenge = narrow.join().replace('REALM', `${wide.fake.origin}/token`)
  wide.fake.behave({ match: /manifests/, times: 1, act: { status: 401, headers: { 'www-authenticate': challenge } } })

  expect(await house.upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  expect(house.fake.tokens.requests[0]?.url).toContain('scope=repository%3Alibrary%2Fa%3Apull')
  expect(await wide.upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  expect(wide.fake.tokens.requests.map(({ url }) => new URL(url, 'http://x').searchParams.getAll('scope'))).toEqual([
    ['repository:other:pull'],
    ['repository:library/a:pull'],
  ])
})

test('a refusal that lasts is denied after few requests: by the token server, by 401 after 401', async () => {
  await using refusing = await challenging({}, { accounts: [{ username: 'bot', password: 'wrong' }] })
  await using looping = await challenging()
  looping.fake.behave({
    match: /manifests/,
    act: ({ headers }) => ({
      status: 401,
      headers: {
        'www-authenticate': headers.authorization?.startsWith('Bearer')
          ? 'Basic realm="x"'
          : `Bearer realm="${looping.fake.origin}/token",error="insufficient_scope",scope="a:${Math.random()}:pull"`,
      },
    }),
  })
  await using upstream = upstreamAt(looping.fake.origin, { config: { accounts: [bot] } })

  expect(await refusing.upstream.getManifest(path, latest, never)).toEqual({ at: 'denied' })
  expect(await upstream.getManifest(path, latest, never)).toEqual({ at: 'denied' })
  expect(looping.fake.requests.length).toBeLessThan(12)
})

test('fault 14: long tokens push each other out: what all have together is bounded, not their number alone', async () => {
  await using house = await challenging({ scope: null })
  house.fake.behave({ match: /token/, act: { body: JSON.stringify({ token: 't'.repeat(14_000), expires_in: 3600 }) } })
  house.fake.behave({ match: ({ headers }) => headers.authorization?.includes('ttt') === true, act: { status: 404 } })
  const { usual } = house.upstream.whole.as(callerOf('bot', new Secret('pw'))) // 32 tokens, 128 KiB
  const get = (at: number) => usual.getManifest(parseRepositoryPath(`many/r${at}`), latest, never)
  for (let at = 0; at < 12; at++) await get(at)

  await get(11)
  const held = house.fake.requestsOf('token').length
  await get(0)

  expect([held, house.fake.requestsOf('token').length]).toEqual([12, 13])
})

test('fault 74: each account has tokens of its own, and nobody has those of another', async () => {
  const accounts = [
    { username: 'ann', password: 'wp', repositories: ['team/**'] },
    { username: 'bot', password: 'pw', repositories: ['library/**'] },
  ]
  await using house = await challenging({ scope: 'repository:library/a:pull repository:team/b:pull' }, { accounts })

  await house.upstream.getManifest(path, latest, never)
  await house.upstream.getManifest(other, latest, never)
  await house.upstream.getManifest(parseRepositoryPath('else/c'), parseReference('x'), never)

  expect(house.fake.tokens.requests.map(({ user }) => user)).toEqual(['bot', 'ann', undefined])
})

test('fault 74: two accounts of one name are two accounts, though the realm names one scope for all', async () => {
  const accounts = [
    { username: 'bot', password: 'pw', repositories: ['library/**'] },
    { username: 'bot', password: 'another', repositories: ['team/**'] },
  ]
  await using house = await challenging({ scope: 'aws' }, { accounts })

  await house.upstream.getManifest(path, latest, never)
  const told = await house.upstream.getManifest(other, latest, never)

  expect(told).toEqual({ at: 'denied' })
  expect(house.fake.tokens.requests.map(({ user }) => user)).toEqual(['bot', undefined])
})

test('Basic is met with the account, remembered, and refused once', async () => {
  await using fake = await startUpstream({ auth: { kind: 'basic', users: { bot: 'pw' } } })
  const image = fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(fake.origin, { config: { accounts: [bot] } })
  await using wrong = upstreamAt(fake.origin, { config: { accounts: [{ ...bot, password: 'x' }] } })
  await using nobody = upstreamAt(fake.origin)

  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found', isPublic: false })
  expect(await openBlob(upstream, image.config.digest)).toMatchObject({ at: 'found' })
  expect(fake.requests).toHaveLength(3)
  expect(await wrong.getManifest(path, latest, never)).toEqual({ at: 'denied' })
  expect(await nobody.getManifest(path, latest, never)).toEqual({ at: 'denied' })
  expect(fake.requests).toHaveLength(6)
})

test('Bearer and Basic in one line: Bearer is taken (Gitea)', async () => {
  await using house = await challenging()
  const line = `Bearer realm="${house.fake.origin}/token",service="s",scope="*",Basic realm="${house.fake.origin}"`
  house.fake.behave({ match: /manifests/, times: 1, act: { status: 401, headers: { 'www-authenticate': line } } })

  expect(await faultOf(house.upstream.getManifest(path, latest, never))).toBe('nothing')
  expect(house.fake.tokens.requests[0]?.url).toBe('/token?service=s&scope=*')
})
