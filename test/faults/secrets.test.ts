import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ask } from '../support/ask.ts'
import { type House, startHouse } from '../support/house.ts'
import type { Seen } from '../support/misbehave.ts'
import { MillpondProcess } from '../support/process.ts'
import { startProxy } from '../support/proxy.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'
import { named } from '../upstream/support.ts'

const base64Of = (text: string): string => Buffer.from(text).toString('base64')

/** Every byte that a house has written: lines, numbers, and all files of its folder. */
async function writtenBy(house: House, folder: string): Promise<string> {
  const { body } = await house.askAdmin('/metrics')
  await house.stop()
  return [...house.logged, ...house.access, body.toString(), ...(await filesOf(folder))].join('\n')
}

/** The names and the bytes of all files below a folder. */
async function filesOf(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
  return [...files, ...(await Promise.all(files.map((file) => readFile(file, 'latin1'))))]
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

/** What a process says that something went wrong with, as a library might: it holds secrets of every kind. */
const CRASH = `process.on('SIGUSR2', () => {
  const cause = new TypeError('https://bot:canary-user@reg.test/x?X-Amz-Signature=canary-signature was refused')
  throw Object.assign(new Error('Authorization: Bearer canary-bearer-0123456789', { cause }), { token: 'canary-token' })
})`

test('fault 80: a process that says all it can, behind a proxy with a password, and then crashes, says none either', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-secrets-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await using proxy = await startProxy()
  const users = { bot: 'canary-password' }
  await using storage = await startUpstream()
  await using registry = await startUpstream({ auth: { kind: 'bearer', users, isPrivate: () => true } })
  const challenge = `Bearer realm="${named(registry.origin, 'auth.reg.example')}/token"`
  const isUnproved = ({ kind, headers }: Seen) => kind !== 'token' && headers.authorization === undefined
  registry.behave({ match: isUnproved, act: { status: 401, headers: { 'www-authenticate': challenge } } })
  const image = registry.addImage('a/b', 'v1')
  for (const { digest } of [image.config, ...image.layers]) storage.addBlob(image.bytesOf(digest))
  const signed = named(storage.origin, 'cdn.example')
  const isProvedBlob = (seen: Seen) => seen.kind === 'blob' && !isUnproved(seen)
  registry.behave({ match: isProvedBlob, act: { redirect: ({ url }) => `${signed}${url}?sig=canary-signature` } })
  const passwordFile = join(folder, 'secret')
  await writeFile(passwordFile, 'canary-password\n')
  const endpoints = [named(registry.origin, 'reg.example')]
  const accounts = [{ username: 'bot', passwordFile }]
  const upstreams = { 'reg.test': { default: true, endpoints, accounts } }
  const data = join(folder, 'data')
  const config = { listen: '127.0.0.1:0', admin: { listen: '127.0.0.1:0' }, disk: { folder: data, cap: '1GiB' } }
  await writeFile(join(folder, 'millpond.yaml'), JSON.stringify({ ...config, upstreams, log: { level: 'debug' } }))
  const environment = { HTTP_PROXY: proxy.origin.replace('//', '//bot:canary-proxy@') }
  const crash = join(folder, 'crash.mjs')
  await writeFile(crash, CRASH)
  const args = ['serve', '-c', join(folder, 'millpond.yaml')]
  await using millpond = new MillpondProcess(args, environment, ['--import', crash])
  const { origin, adminOrigin } = await millpond.serving()

  const statuses = []
  for (const path of ['manifests/v1', `blobs/${image.layers[0]?.digest}`, 'tags/list']) {
    statuses.push((await ask(`${origin}/v2/a/b/${path}`, { headers: { authorization: 'Basic canary-client' } })).status)
  }
  storage.behave({ match: /./, act: { status: 403, body: 'canary-body' } })
  statuses.push((await ask(`${origin}/v2/a/b/blobs/${image.layers[1]?.digest}`)).status)
  const metrics = await ask(`${adminOrigin}/metrics`)
  millpond.kill('SIGUSR2')
  const { status, out, err } = await millpond.ended()
  const files = await filesOf(data)

  expect(statuses).toEqual([200, 200, 200, 502])
  expect(registry.tokens.requests.map(({ user }) => user)).toContain('bot')
  expect([status, out.includes('an error that nobody caught'), out.includes('Bearer ***')]).toEqual([1, true, true])
  const written = [out, err, String(metrics.body), ...files].join('\n')
  const secrets = ['canary', 'tok-', base64Of('bot:canary-password'), base64Of('bot:canary-proxy')]
  expect(secrets.filter((secret) => written.includes(secret))).toEqual([])
})
