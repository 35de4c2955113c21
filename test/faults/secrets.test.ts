import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { type House, startHouse } from '../support/house.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'

const base64Of = (text: string): string => Buffer.from(text).toString('base64')

/** Every byte that a house has written: lines, numbers, and all files of its folder. */
async function writtenBy(house: House, folder: string): Promise<string> {
  const { body } = await house.askAdmin('/metrics')
  await house.stop()
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
  const kept = await Promise.all(files.map((file) => readFile(file, 'latin1')))
  return [...house.logged, ...house.access, body.toString(), ...files, ...kept].join('\n')
}

/** Each way in which an upstream's answer may hold a secret, or its failure be told with one. */
function misbehaveInTurn(registry: FakeUpstream, storage: FakeUpstream) {
  return [
    () => storage.behave({ match: /blobs/, act: { status: 403, body: 'canary-body' } }),
    () => storage.behave({ match: /blobs/, act: { refuse: true } }),
    () => storage.behave({ match: /blobs/, act: { redirect: 'https://u:canary-user@no.invalid/x?sig=canary-hop' } }),
    () => registry.behave({ match: /manifests/, act: { redirect: 'http://no.invalid/x?sig=canary-manifest' } }),
    () => registry.behave({ match: /token/, act: { status: 500, body: 'canary-token-error' } }),
    () => registry.behave({ match: /token/, act: { body: '{"token":"canary token","expires_in":"x"}' } }),
    () => registry.behave({ match: /token/, act: { redirect: 'http://u:canary-user@127.0.0.1:1/?sig=canary-token' } }),
  ]
}

test('fault 80: no password, token, signed query or client header is in a line, a number or a file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-secrets-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const users = { bot: 'canary-password' }
  await using storage = await startUpstream()
  await using registry = await startUpstream({ auth: { kind: 'bearer', users, isPrivate: () => true } })
  await using basic = await startUpstream({ auth: { kind: 'basic', users } })
  const image = registry.addImage('a/b', 'v1', { layers: 9 })
  for (const { digest } of [image.config, ...image.layers]) storage.addBlob(image.bytesOf(digest))
  registry.behave({ match: /blobs/, act: { redirect: ({ url }) => `${storage.origin}${url}?sig=canary-signature` } })
  const accounts = [{ username: 'bot', password: 'canary-password' }]
  const upstreams = {
    'token.test': { of: registry, accounts, push: true },
    'basic.test': { of: basic, accounts, push: true },
    'wrong.test': { of: registry, accounts: [{ username: 'bot', password: 'canary-wrong' }] },
  }
  const house = await startHouse([], { folder, upstreams })
  await using _ = house
  const headers = { authorization: 'Bearer canary-client', cookie: 'canary-cookie' }
  const statusOf = async (path: string, method = 'GET') => (await house.ask(path, { method, headers })).status
  const blobs = [...image.layers]

  const statuses = [
    await statusOf('/v2/token.test/a/b/manifests/v1'),
    await statusOf(`/v2/token.test/a/b/blobs/${blobs.shift()?.digest}`),
    await statusOf('/v2/basic.test/a/b/tags/list?last=canary-query'),
    await statusOf('/v2/wrong.test/a/b/manifests/v1'),
    await statusOf('/v2/token.test/a/b/manifests/v1?access_token=canary-write', 'PUT'),
  ]
  for (const misbehave of misbehaveInTurn(registry, storage)) {
    misbehave()
    await statusOf(`/v2/token.test/a/b/blobs/${blobs.shift()?.digest}`)
    registry.tokens.revoke()
    await statusOf(`/v2/token.test/a/b/manifests/v${blobs.length}`)
  }
  const written = await writtenBy(house, folder)

  expect(statuses).toEqual([200, 200, 404, 403, 401])
  expect(registry.tokens.requests.map(({ user }) => user)).toContain('bot')
  expect(written).toContain('token.test')
  const secrets = ['canary', 'tok-', base64Of('bot:canary-password'), base64Of('bot:canary-wrong')]
  expect(secrets.filter((secret) => written.includes(secret))).toEqual([])
})
