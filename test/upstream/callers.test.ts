import { expect, test } from 'vitest'
import { callerOf } from '../../src/base/caller.ts'
import { systemOutside } from '../../src/base/clock.ts'
import { configSchema, Secret } from '../../src/base/config.ts'
import { silentLog } from '../../src/base/log.ts'
import { findRegistryHost, parseRepositoryPath } from '../../src/oci/names.ts'
import { Upstreams } from '../../src/upstream/upstreams.ts'
import { startUpstream } from '../support/upstream.ts'
import { latest, never, path, upstreamAt } from './support.ts'

const USERS = { bot: 'bot-canary', alice: 'alice-canary' }
const BOT = { username: 'bot', password: 'bot-canary' }
const alice = callerOf('alice', new Secret('alice-canary'))

test('fault 74: an account of ours is used for no private repository, even where nobody stopped the question', async () => {
  await using fake = await startUpstream({ auth: { kind: 'bearer', users: USERS, isPrivate: () => true } })
  fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(fake.origin, { config: { accounts: [BOT], private: ['library/*'] } })

  const told = await upstream.getManifest(path, latest, never)

  expect(told.at).toBe('denied')
  expect(fake.tokens.requests.map(({ user }) => user)).toEqual([undefined])
})

test('a private repository has no upstream without a caller, and his own with one', async () => {
  const { upstreams } = configSchema.parse({ upstreams: { 'reg.test': { private: ['library/*'], accounts: [BOT] } } })
  const host = findRegistryHost('reg.test')
  if (!host || !upstreams['reg.test']) throw new Error('no upstream')
  const parts = { log: silentLog, proxy: {}, hooksOf: () => ({}) }
  await using all = new Upstreams(new Map([[host, upstreams['reg.test']]]), systemOutside, parts)
  const open = { host, path: parseRepositoryPath('open/a') }

  expect(() => all.askedFor({ host, path })).toThrow(expect.objectContaining({ reason: 'unauthorized' }))
  expect(all.confirmingFor({ host, path })).toBeUndefined()
  expect(all.askedFor({ host, path, as: alice })).toBe(all.of(host)?.as(alice).usual)
  expect(all.askedFor(open)).toBe(all.of(host)?.ours)
})

test('what a caller gets is never public, though upstream asked nobody who he is', async () => {
  await using fake = await startUpstream()
  fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(fake.origin)
  const { usual, confirming } = upstream.whole.as(alice)

  const told = [await usual.getManifest(path, latest, never), await confirming.getManifest(path, latest, never)]

  expect(told).toEqual([expect.objectContaining({ isPublic: false }), expect.objectContaining({ isPublic: false })])
  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ isPublic: true })
})

test('what confirms is asked with a new token each time, and all else with the one that is held', async () => {
  await using fake = await startUpstream({ auth: { kind: 'bearer', users: USERS, isPrivate: () => true } })
  fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(fake.origin)
  const { usual, confirming } = upstream.whole.as(alice)
  const countAfter = async (asking: typeof usual) => {
    await asking.headManifest(path, latest, never)
    return fake.tokens.given
  }

  const given = [await countAfter(confirming), await countAfter(usual), await countAfter(confirming)]
  const more = [await countAfter(confirming), await countAfter(usual)]

  expect([...given, ...more]).toEqual([1, 1, 2, 3, 3])
})
