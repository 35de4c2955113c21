import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Agent } from 'undici'
import { expect, test } from 'vitest'
import { clientLocationOf } from '../../src/registry/passing.ts'
import { parseRequest } from '../../src/registry/request.ts'
import type { Passing } from '../../src/registry/routes.ts'
import { hostOf, RULES, registriesOf, startFront, until } from './support.ts'

const hex = 'e'.repeat(64)

type Seen = { line: string; headers: IncomingHttpHeaders; body: string; isWhole: boolean }
type Act = (request: IncomingMessage, response: ServerResponse) => void

/** An upstream that takes writes, and a front that passes them on to it. */
async function startPushed(act: Act, endpointPath = '', answerMs = 60_000) {
  const seen: Seen[] = []
  const server = createServer(async (message, response) => {
    const each: Seen = { line: `${message.method} ${message.url}`, headers: message.headers, body: '', isWhole: false }
    seen.push(each)
    message.on('data', (piece) => {
      each.body += piece.toString()
    })
    message.on('error', () => undefined) // an aborted upload: isWhole stays false
    message.on('end', () => {
      each.isWhole = true
      act(message, response)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const written: string[] = []
  const dispatcher = new Agent()
  const answers: unknown[] = []
  const onAnswer = (status: unknown) => void answers.push(status)
  const target = { endpoint: new URL(origin + endpointPath), dispatcher, answerMs, onAnswer }
  const house = await startFront({
    registries: registriesOf(
      ['docker.io', { ...RULES, push: true }],
      ['push.example', { ...RULES, push: true, deny: ['secret'] }],
      ['ghcr.io', RULES],
    ),
    targets: [
      { ...target, host: hostOf('docker.io') },
      { ...target, host: hostOf('push.example') },
    ],
    onWritten: async (passing: Passing) => void written.push(`${passing.route} ${passing.target.repository.path}`),
  })
  return {
    ...{ ...house, seen, written, answers, origin, server },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await house.front.drain()
      await dispatcher.close()
    },
  }
}

const answering =
  (status: number, headers: Record<string, string | string[]> = {}, body = ''): Act =>
  (_request, response) =>
    void response.writeHead(status, { 'content-length': String(Buffer.byteLength(body)), ...headers }).end(body)

test('a write goes upstream as it came, and its answer comes back as it is', async () => {
  const told = { 'docker-content-digest': `sha256:${hex}`, 'x-upstream': 'yes', 'content-type': 'application/json' }
  await using house = await startPushed(answering(201, told, '{"a":1}'))

  const response = await fetch(`${house.url}/v2/push.example/a/manifests/1?ns=push.example&x=%20y`, {
    method: 'PUT',
    body: '{ "schemaVersion": 2 }',
    headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
  })

  expect(house.seen).toMatchObject([
    { line: 'PUT /v2/a/manifests/1?x=+y', body: '{ "schemaVersion": 2 }', isWhole: true },
  ])
  expect(house.seen[0]?.headers['content-type']).toBe('application/vnd.oci.image.manifest.v1+json')
  expect([response.status, await response.text()]).toEqual([201, '{"a":1}'])
  expect(response.headers.get('docker-content-digest')).toBe(`sha256:${hex}`)
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(response.headers.get('x-upstream')).toBe('yes')
  expect(response.headers.get('cache-status')).toBe('millpond; fwd=method')
  expect(response.headers.get('docker-distribution-api-version')).toBe('registry/2.0')
  expect(response.headers.get('oci-namespace')).toBe('push.example')
  expect(house.written).toEqual(['manifest a'])
  await until(() => house.done.length > 0)
  const path = '/v2/push.example/a/manifests/1'
  expect(house.done).toMatchObject([{ route: 'manifest', outcome: 'passed', status: 201, path }])
  expect(house.answers).toEqual([201])
})

test("fault 79: the client's Authorization goes along, its cookies, hop-by-hop and unknown fields do not", async () => {
  await using house = await startPushed(answering(202, { 'set-cookie': 'a=b', 'alt-svc': 'h3=":443"' }))

  const response = await fetch(`${house.url}/v2/a/blobs/uploads/`, {
    method: 'POST',
    headers: {
      ...{ authorization: 'Basic dTpw', cookie: 'session=1', 'x-forwarded-for': '10.0.0.1', te: 'trailers' },
      ...{ 'proxy-authorization': 'Basic eDp5', 'x-custom': '1' },
    },
  })

  const up = house.seen[0]?.headers ?? {}
  expect(up.authorization).toBe('Basic dTpw')
  expect(up.host).toBe(new URL(house.origin).host)
  for (const name of ['cookie', 'x-forwarded-for', 'te', 'proxy-authorization', 'x-custom']) {
    expect(up).not.toHaveProperty(name)
  }
  expect(response.headers.get('set-cookie')).toBeNull()
  expect(response.headers.get('alt-svc')).toBeNull()
  expect(house.written).toEqual([]) // an upload that is begun has changed nothing
})

test("upstream's challenge comes back as it is", async () => {
  const challenge = 'Bearer realm="https://auth.example/token",service="s"'
  await using house = await startPushed(answering(401, { 'www-authenticate': challenge }, '{"errors":[]}'))

  const response = await fetch(`${house.url}/v2/a/blobs/uploads/`, { method: 'POST' })

  expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, challenge])
  expect(house.written).toEqual([])
})

for (const [path, location, want, why] of [
  ['/v2/a', '/v2/library/a/blobs/uploads/1?_state=x%3D', '/v2/a/blobs/uploads/1?_state=x%3D', 'a short name'],
  ['/v2/docker.io/a', '{origin}/v2/library/a/blobs/uploads/1', '/v2/docker.io/a/blobs/uploads/1', 'absolute'],
  ['/docker.io/v2/a', '/v2/library/a/blobs/uploads/1', '/docker.io/v2/a/blobs/uploads/1', 'a host before /v2/'],
  ['/v2/push.example/a', 'blobs/uploads/1', '/v2/push.example/a/blobs/uploads/1', 'relative'],
  ['/v2/a', 'https://other.example/up/1', 'https://other.example/up/1', 'another origin is told as it is'],
  ['/v2/a', '/elsewhere/up/1', '{origin}/elsewhere/up/1', 'another service of upstream too'],
] as const) {
  test(`Location ${location} comes back to ${path} as ${want}: ${why}`, async () => {
    await using house = await startPushed((message, response) =>
      answering(202, { location: location.replace('{origin}', `http://${message.headers.host}`) })(message, response),
    )

    const plain = await fetch(`${house.url}${path}/blobs/uploads/`, { method: 'POST' })

    expect(plain.headers.get('location')).toBe(want.replace('{origin}', house.origin))
  })
}

for (const [endpoint, location, want, why] of [
  [
    'https://up.example',
    'http://up.example/v2/library/a/blobs/uploads/1',
    '/v2/a/blobs/uploads/1',
    'what ends TLS for it',
  ],
  ['https://up.example', 'https://up.example:444/v2/library/a/x', 'https://up.example:444/v2/library/a/x', 'elsewhere'],
  [
    'https://up.example',
    'https://up.example.evil/v2/library/a/x',
    'https://up.example.evil/v2/library/a/x',
    'elsewhere',
  ],
  ['https://up.example', '//evil.example/v2/library/a/x', 'https://evil.example/v2/library/a/x', 'elsewhere'],
  ['https://up.example', 'http://other.example/up/1', undefined, 'in the clear, after TLS'],
  ['http://up.example', 'http://other.example/up/1', 'http://other.example/up/1', 'as upstream itself is'],
  ['https://up.example', 'javascript:alert(1)', undefined, 'no web address'],
  ['https://up.example', 'file:///etc/passwd', undefined, 'no web address'],
  ['https://up.example', 'https://', undefined, 'no address'],
] as const) {
  test(`fault 79: of ${endpoint} the Location ${location} is told as ${want}: ${why}`, () => {
    const passing = parseRequest('/v2/a/blobs/uploads/', 'localhost', registriesOf(['docker.io', RULES]))
    if (passing.route !== 'upload') throw new Error(passing.route)

    expect(clientLocationOf(location, passing, new URL(endpoint))).toBe(want)
  })
}

test('a Location keeps the ns by which its client came, and works', async () => {
  await using house = await startPushed(answering(202, { location: '/v2/a/blobs/uploads/1?_state=s' }))

  const begun = await fetch(`${house.url}/v2/a/blobs/uploads/?ns=push.example`, { method: 'POST' })
  const location = begun.headers.get('location') ?? ''
  await fetch(`${house.url}${location}&digest=sha256:${hex}`, { method: 'PUT', body: 'abc' })

  expect(location).toBe('/v2/a/blobs/uploads/1?_state=s&ns=push.example')
  expect(house.seen[1]?.line).toBe(`PUT /v2/a/blobs/uploads/1?_state=s&digest=sha256%3A${hex}`)
})

test('an endpoint with a path of its own is written to below it, and its Location found there', async () => {
  await using house = await startPushed(answering(202, { location: '/hub/v2/a/blobs/uploads/1' }), '/hub/')

  const response = await fetch(`${house.url}/v2/push.example/a/blobs/uploads/`, { method: 'POST' })

  expect(house.seen[0]?.line).toBe('POST /hub/v2/a/blobs/uploads/')
  expect(response.headers.get('location')).toBe('/v2/push.example/a/blobs/uploads/1')
})

for (const [from, want] of [
  ['alpine', 'library%2Falpine'],
  ['docker.io/b/c', 'b%2Fc'],
  ['b/c', 'b%2Fc'],
] as const) {
  test(`a mount from ${from} names upstream's repository`, async () => {
    await using house = await startPushed(answering(201))

    await fetch(`${house.url}/v2/a/blobs/uploads/?mount=sha256:${hex}&from=${from}`, { method: 'POST' })

    expect(house.seen[0]?.line).toBe(`POST /v2/library/a/blobs/uploads/?mount=sha256%3A${hex}&from=${want}`)
    expect(house.written).toEqual(['upload library/a'])
  })
}

test('the state of an upload may be asked for; a DELETE makes untrue what was known', async () => {
  await using house = await startPushed(answering(202, { range: '0-9' }))

  const state = await fetch(`${house.url}/v2/a/blobs/uploads/1`)
  await fetch(`${house.url}/v2/a/manifests/1`, { method: 'DELETE' })

  expect([state.status, state.headers.get('range')]).toEqual([202, '0-9'])
  expect(house.seen.map(({ line }) => line)).toEqual([
    'GET /v2/library/a/blobs/uploads/1',
    'DELETE /v2/library/a/manifests/1',
  ])
  expect(house.written).toEqual(['manifest library/a'])
})

test('a write is refused where its upstream takes none, or the repository is not served', async () => {
  await using house = await startPushed(answering(201))

  const none = await fetch(`${house.url}/v2/ghcr.io/a/manifests/1`, { method: 'PUT', body: '{}' })
  const denied = await fetch(`${house.url}/v2/push.example/secret/manifests/1`, { method: 'PUT', body: '{}' })
  const climbing = await fetch(`${house.url}/v2/a%2f..%2fb/manifests/1`, { method: 'PUT', body: '{}' })
  const inside = await fetch(`${house.url}/to-0/v2/a/manifests/1`, { method: 'PUT', body: '{}' })

  expect([none.status, denied.status, climbing.status, inside.status]).toEqual([405, 404, 400, 404])
  expect(house.seen).toEqual([])
})

test('an upstream that cannot be reached is 502 UNAVAILABLE', async () => {
  await using house = await startPushed(answering(201))
  house.server.close()

  const response = await fetch(`${house.url}/v2/a/blobs/uploads/`, { method: 'POST' })

  expect(response.status).toBe(502)
  expect(await response.json()).toMatchObject({ errors: [{ code: 'UNAVAILABLE' }] })
  expect(house.done).toMatchObject([{ status: 502, outcome: 'failed', route: 'write' }])
})

test('an upstream that takes a push and never answers is 504, and is not asked again', async () => {
  await using house = await startPushed(() => undefined, '', 200)

  const response = await fetch(`${house.url}/v2/a/blobs/sha256:${hex}`, { method: 'DELETE' })

  expect([response.status, response.headers.get('docker-distribution-api-version')]).toEqual([504, 'registry/2.0'])
  expect(await response.json()).toMatchObject({ errors: [{ code: 'UNAVAILABLE' }] })
  expect([house.seen.length, house.answers]).toEqual([1, ['error']])
  expect(house.done).toMatchObject([{ status: 504, outcome: 'failed', digest: `sha256:${hex}` }])
})

test('a client that stands still amid its push is cut, and upstream with it', async () => {
  await using house = await startPushed(answering(202), '', 200)
  const sending = request(`${house.url}/v2/a/blobs/uploads/1`, { method: 'PATCH' })
  const failed = once(sending, 'error')
  sending.write('begin ')

  await failed
  await until(() => house.done.length > 0)

  expect(house.seen).toMatchObject([{ body: 'begin ', isWhole: false }])
  expect(house.done).toMatchObject([{ outcome: 'left' }])
})

test("an upload's state that upstream answers with 503 is told at once", async () => {
  await using house = await startPushed(answering(503, { 'retry-after': '30' }))

  const state = await fetch(`${house.url}/v2/a/blobs/uploads/1`)

  expect([state.status, house.seen.length]).toEqual([503, 1])
})

test('a large body streams: upstream sees its begin before its end is sent', async () => {
  await using house = await startPushed(answering(202))
  const sending = request(`${house.url}/v2/a/blobs/uploads/1`, { method: 'PATCH' })
  sending.write('begin ')
  await until(() => house.seen[0]?.body === 'begin ')

  sending.end('end')
  const [response] = (await once(sending, 'response')) as [IncomingMessage]
  response.resume()

  expect(response.statusCode).toBe(202)
  expect(house.seen).toMatchObject([{ body: 'begin end', isWhole: true }])
})

test('a client that waits for 100 Continue is told to go on', async () => {
  await using house = await startPushed(answering(202))
  const sending = request(`${house.url}/v2/a/blobs/uploads/1`, {
    method: 'PATCH',
    headers: { expect: '100-continue', 'content-length': '3' },
  })
  sending.flushHeaders()
  await once(sending, 'continue')

  sending.end('abc')
  const [response] = (await once(sending, 'response')) as [IncomingMessage]
  response.resume()

  expect(response.statusCode).toBe(202)
  expect(house.seen).toMatchObject([{ body: 'abc' }])
  expect(house.seen[0]?.headers).not.toHaveProperty('expect')
})

test('fault 28: a push that its client aborts is aborted upstream', async () => {
  await using house = await startPushed(answering(202))
  let aborted = false
  const sending = request(`${house.url}/v2/a/blobs/uploads/1`, { method: 'PATCH' })
  sending.on('error', () => undefined) // it is torn down below
  house.server.on('request', (message: IncomingMessage) =>
    message.once('close', () => {
      aborted = !message.complete
    }),
  )
  sending.write('begin ')
  await until(() => house.seen[0]?.body === 'begin ')

  sending.destroy()
  await until(() => aborted)
  await until(() => house.done.length > 0)

  expect(house.seen).toMatchObject([{ isWhole: false }])
  expect(house.done).toMatchObject([{ outcome: 'left' }])
})
