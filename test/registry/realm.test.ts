import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { callerOf } from '../../src/base/caller.ts'
import { systemOutside } from '../../src/base/clock.ts'
import { Secret } from '../../src/base/config.ts'
import { Realm } from '../../src/registry/realm.ts'
import { HandClock } from '../cache/hand-clock.ts'
import { type Asking, ask } from '../support/ask.ts'
import { TEST_TLS } from '../support/tls.ts'
import { exchangeRaw, Shelf, startFront } from './support.ts'

const basicOf = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })
const bearerOf = (token: string) => ({ authorization: `Bearer ${token}` })
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

type Given = { readonly publicUrl?: string; readonly clock?: HandClock; readonly tls?: typeof TEST_TLS }

async function withRealm({ publicUrl, clock, tls }: Given = {}) {
  const realm = new Realm({ publicUrl, clock: clock ?? systemOutside.clock })
  const shelf = new Shelf()
  shelf.put('docker.io/library/a', 'v1', 'application/vnd.oci.image.manifest.v1+json', Buffer.from('{}'))
  const house = await startFront({ realm, shelf, ...(tls && { tls }) })
  onTestFinished(() => house[Symbol.asyncDispose]())
  const get = (path: string, asking: Asking = {}) => ask(`${house.url}${path}`, asking)
  const post = (form: Record<string, string>, headers = {}) => {
    const body = Buffer.from(new URLSearchParams(form).toString())
    return get('/token', { method: 'POST', headers: { ...FORM, 'content-length': `${body.length}`, ...headers }, body })
  }
  const tokenBy = async (headers: Record<string, string> = {}, query = '') => {
    const { status, body } = await get(`/token${query}`, { headers })
    expect(status).toBe(200)
    return String(JSON.parse(body.toString()).token)
  }
  return { ...house, realm, get, post, tokenBy }
}

const challengeOf = ({ headers }: { headers: Record<string, unknown> }) => headers['www-authenticate']

test('/v2/ challenges with one Bearer realm at the host that the client asked, by the scheme that it used', async () => {
  const { url, get } = await withRealm()
  const secure = await withRealm({ tls: TEST_TLS })

  const plain = await get('/v2/')
  const named = await get('/v2/', { headers: { host: 'cache.example:5000' } })
  const overTls = await secure.get('/docker.io/v2/', { ca: TEST_TLS.cert })

  expect([plain.status, named.status, overTls.status]).toEqual([401, 401, 401])
  expect(challengeOf(plain)).toBe(`Bearer realm="${url}/token",service="millpond"`)
  expect(challengeOf(named)).toBe('Bearer realm="http://cache.example:5000/token",service="millpond"')
  expect(challengeOf(overTls)).toBe(`Bearer realm="${secure.url}/token",service="millpond"`)
  expect(plain.rawHeaders.filter((name) => name.toLowerCase() === 'www-authenticate')).toHaveLength(1)
  expect(plain.body.toString()).toContain('"UNAUTHORIZED"')
})

test('publicUrl says where the realm is, whatever the client asked', async () => {
  const { get } = await withRealm({ publicUrl: 'https://cache.example' })

  const told = await get('/v2/', { headers: { host: 'evil.example' } })

  expect(challengeOf(told)).toBe('Bearer realm="https://cache.example/token",service="millpond"')
})

test('fault 70: who speaks of forwarding moves the realm nowhere', async () => {
  const { url, get } = await withRealm()
  const headers = { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https', forwarded: 'host=evil.example' }

  expect(challengeOf(await get('/v2/', { headers }))).toBe(`Bearer realm="${url}/token",service="millpond"`)
})

for (const host of ['a",realm="http://evil', 'a b', 'a/b', 'u@a', 'a:b', '', 'a"', '{}', 'a:1234567', '-a']) {
  test(`fault 68: a Host of ${host || 'nothing'} is not repeated in the challenge`, async () => {
    const { url, port } = await withRealm()
    const socket = connect(port, '127.0.0.1')
    let answer = ''
    socket.on('data', (piece) => {
      answer += piece.toString()
    })
    socket.write(`GET /v2/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    await once(socket, 'close')

    expect(answer.match(/^WWW-Authenticate: .*$/m)?.[0]).toBe(
      `WWW-Authenticate: Bearer realm="${url}/token",service="millpond"`,
    )
  })
}

test('a token is given to any credentials and to none, and /v2/ takes each', async () => {
  const { get, post, tokenBy } = await withRealm()
  const query = '?service=millpond&scope=repository:a/b:pull,push&account=ann&client_id=docker&offline_token=true'
  const form = { grant_type: 'password', username: 'ann', password: 'p', scope: 'repository:a/b:pull', service: 'x' }

  const tokens = [
    await tokenBy(),
    await tokenBy(basicOf('ann:p'), query),
    await tokenBy({ authorization: 'Bearer stale' }),
    String(JSON.parse((await post(form)).body.toString()).access_token),
  ]
  const told = [
    ...(await Promise.all(tokens.map((token) => get('/v2/', { headers: bearerOf(token) })))),
    await get('/v2/', { headers: basicOf('ann:p') }),
    await get('/v2', { headers: bearerOf(tokens[0] ?? ''), method: 'HEAD' }),
  ]

  expect(new Set(tokens).size).toBe(4)
  expect(told.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200])
})

test('the answer has all that clients look for, and no cache may keep it', async () => {
  const { get } = await withRealm({ clock: new HandClock() })

  const { headers, body } = await get('/token?account=ann', { headers: basicOf('ann:p') })
  const told = JSON.parse(body.toString())
  const head = await get('/token', { method: 'HEAD' })

  expect(told).toEqual({
    token: expect.stringMatching(/^[A-Za-z0-9_-]{60,}$/),
    access_token: told.token,
    expires_in: 300,
    issued_at: '2026-01-01T00:00:00.000Z',
  })
  expect(headers).toMatchObject({ 'cache-control': 'no-store', 'content-type': 'application/json' })
  expect([head.status, head.body.length]).toEqual([200, 0])
})

for (const [why, form, headers] of [
  ['a refresh token', { grant_type: 'refresh_token', refresh_token: 'x' }, {}],
  ['no grant', { username: 'ann', password: 'p' }, {}],
  ['a grant without a name', { grant_type: 'password', password: 'p' }, {}],
  ['a grant without a password', { grant_type: 'password', username: 'ann' }, {}],
  ['a grant as JSON', { grant_type: 'password', username: 'a', password: 'p' }, { 'content-type': 'application/json' }],
  ['credentials of 16 KiB and a byte', { grant_type: 'password', username: 'a', password: 'p'.repeat(16 * 1024) }, {}],
] as const) {
  test(`${why} is refused with 400, whereupon clients ask by GET`, async () => {
    const { post } = await withRealm()

    const { status, body } = await post(form, headers)

    expect(status).toBe(400)
    expect(JSON.parse(body.toString()).errors).toHaveLength(1)
  })
}

test('a form of 64 KiB is read, one of a byte more or of no told length is not, and its connection is closed', async () => {
  const { get } = await withRealm()
  const grant = 'grant_type=password&username=a&password=p&filling='
  const send = (sizeBytes: number, headers: Record<string, string>) =>
    get('/token', { method: 'POST', headers: { ...FORM, ...headers }, body: Buffer.from(grant.padEnd(sizeBytes, 'x')) })

  const whole = await send(65_536, { 'content-length': '65536' })
  const refused = [await send(100, { 'content-length': '65537' }), await send(100, { 'transfer-encoding': 'chunked' })]

  expect(whole.status).toBe(200)
  expect(refused.map(({ status, headers }) => [status, headers.connection])).toEqual(Array(2).fill([400, 'close']))
})

test('credentials of exactly 16 KiB come through, by form and by token', async () => {
  const { post, realm } = await withRealm()
  const password = 'p'.repeat(16 * 1024 - 3)

  const { body } = await post({ grant_type: 'password', username: 'ann', password })

  const { token } = JSON.parse(body.toString())
  expect(realm.callers.find(`Bearer ${token}`)?.password.reveal()).toBe(password)
})

test('a caller is whom Basic or a token names; a token without credentials names nobody', async () => {
  const { realm, tokenBy } = await withRealm()
  const ann = callerOf('ann', new Secret('p:ü'))
  const named = await tokenBy(basicOf('ann:p:ü'))
  const nameless = await tokenBy()

  const found = [basicOf('ann:p:ü').authorization, `Bearer ${named}`, `bearer  ${named} `].map((each) =>
    realm.callers.find(each),
  )

  expect(found.map((caller) => caller?.id)).toEqual([ann.id, ann.id, ann.id])
  expect(found.map((caller) => caller?.password.reveal())).toEqual(['p:ü', 'p:ü', 'p:ü'])
  expect(realm.callers.find(`Bearer ${nameless}`)).toBeUndefined()
  expect(realm.callers.find(undefined)).toBeUndefined()
})

test('a token ends after five minutes, at the restart, and by any change of it; the challenge then says so', async () => {
  const clock = new HandClock()
  const { get, realm, tokenBy } = await withRealm({ clock })
  const other = await withRealm()
  const token = await tokenBy(basicOf('ann:p'))
  const statusOf = async (each: string) => (await get('/v2/', { headers: bearerOf(each) })).status
  const flipped = Buffer.from(token, 'base64url').map((byte, at) => (at === 20 ? byte ^ 1 : byte))

  clock.stepWall(86_400_000)
  clock.advance(299_999)
  expect(await statusOf(token)).toBe(200)
  for (const wrong of [Buffer.from(flipped).toString('base64url'), token.slice(0, -8), 'x', await other.tokenBy()]) {
    expect(await statusOf(wrong)).toBe(401)
  }
  clock.advance(1)

  expect(realm.callers.find(`Bearer ${token}`)).toBeUndefined()
  const ended = await get('/v2/', { headers: bearerOf(token) })
  expect(ended.status).toBe(401)
  expect(challengeOf(ended)).toMatch(/^Bearer realm="[^"]+",service="millpond",error="invalid_token"$/)
})

test('a token tells nothing of what it holds, and no two are equal', async () => {
  const { tokenBy } = await withRealm()

  const [first, second] = [await tokenBy(basicOf('ann:canary')), await tokenBy(basicOf('ann:canary'))]

  expect(first).not.toBe(second)
  expect(Buffer.from(first, 'base64url').toString('latin1')).not.toContain('canary')
})

test('what is public is served as before, whatever token comes with it', async () => {
  const { get, tokenBy } = await withRealm()

  const told = [{}, bearerOf('stale'), bearerOf(await tokenBy()), basicOf('ann:p')].map((headers) =>
    get('/v2/library/a/manifests/v1', { headers }),
  )

  expect((await Promise.all(told)).map(({ status }) => status)).toEqual([200, 200, 200, 200])
})

test('the realm is at /token alone, by GET and POST alone; without private repositories there is none', async () => {
  const { get } = await withRealm()
  const without = await startFront()
  onTestFinished(() => without[Symbol.asyncDispose]())

  const paths = ['/token/', '/v2/token', '/docker.io/token', '//token', '/%74oken']
  const elsewhere = await Promise.all(paths.map((path) => get(path)))
  const put = await get('/token', { method: 'PUT' })
  const told = [await ask(`${without.url}/token`), await ask(`${without.url}/token`, { method: 'POST' })]

  expect(elsewhere.map(({ status }) => status).every((status) => status === 400 || status === 404)).toBe(true)
  expect(put.status).toBe(404)
  expect(told.map(({ status }) => status)).toEqual([404, 404])
  expect((await ask(`${without.url}/v2/`)).status).toBe(200)
})

test('fault 80: what a client asks the realm with is in no access line and no label', async () => {
  const { get, post, done } = await withRealm()

  await get('/token?account=canary&scope=canary', { headers: basicOf('canary:canary') })
  await post({ grant_type: 'password', username: 'canary', password: 'canary' })
  await post({ grant_type: 'canary' })

  await expect.poll(() => done.length).toBe(3)
  expect(done.map(({ path, route }) => [path, route])).toEqual(Array(3).fill(['/token', 'other']))
  expect(JSON.stringify(done)).not.toContain('canary')
})

test('fault 24: who promises a form and never sends it is cut at the limit, and told once', async () => {
  const realm = new Realm({ publicUrl: undefined, clock: systemOutside.clock })
  await using house = await startFront({ realm, limits: { headMs: 100, requestMs: 200, checkEveryMs: 50 } })

  const head = ['POST /token HTTP/1.1', 'Host: a', `Content-Type: ${FORM['content-type']}`, 'Content-Length: 9']
  const answer = await exchangeRaw(house.port, `${head.join('\r\n')}\r\n\r\ngrant`)

  expect(answer).not.toContain('200 OK')
  await expect.poll(() => house.done.length).toBe(1)
})
