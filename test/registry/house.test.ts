import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import { type Answered, open } from '../support/ask.ts'
import { startHouse } from '../support/house.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'

/* The table "Golden answers" once more, through the whole house: what upstream does, and what its client then sees. */

const APP = 'team/app'

const codeOf = ({ body }: Answered): string => JSON.parse(body.toString()).errors[0].code
const brief = (answered: Answered): [number, string] => [answered.status, codeOf(answered)]

async function startPair(act?: Parameters<FakeUpstream['behave']>[0]) {
  const fake = await startUpstream()
  const image = fake.addImage(APP, 'v1', { layerBytes: 300_000 })
  if (act) fake.behave(act)
  const house = await startHouse(fake)
  const [layer = image.config] = image.layers
  return {
    ...{ fake, image, house, layer, bytes: image.bytesOf(layer.digest) },
    [Symbol.asyncDispose]: async () => {
      await house[Symbol.asyncDispose]()
      await fake[Symbol.asyncDispose]()
    },
  }
}

for (const [state, isHeld] of [
  ['cold', false],
  ['held', true],
] as const) {
  test(`a ${state} blob: GET and HEAD tell the same head; its bytes are whole`, async () => {
    await using pair = await startPair()
    const { house, layer, bytes } = pair
    if (isHeld) await house.getBlob(APP, layer.digest)

    const head = await house.getBlob(APP, layer.digest, { method: 'HEAD' })
    const got = await house.getBlob(APP, layer.digest)

    expect(got.body).toEqual(bytes)
    expect(head.body).toHaveLength(0)
    for (const { status, headers } of [got, head]) {
      expect(status).toBe(200)
      expect(headers).toMatchObject({
        'content-type': 'application/octet-stream',
        'content-length': String(bytes.length),
        'docker-content-digest': layer.digest,
        'docker-distribution-api-version': 'registry/2.0',
        'accept-ranges': 'bytes',
        'cache-control': 'max-age=31536000',
        etag: `"${layer.digest}"`,
      })
      expect(headers).not.toHaveProperty('content-encoding')
    }
  })

  for (const [range, start, end] of [
    ['bytes=0-99', 0, 100],
    ['bytes=100000-', 100_000, 300_000],
    ['bytes=-7', 299_993, 300_000],
    ['bytes=299999-400000', 299_999, 300_000],
  ] as const) {
    test(`a ${state} blob: ${range} is 206 with its own length`, async () => {
      await using pair = await startPair()
      const { house, layer, bytes } = pair
      if (isHeld) await house.getBlob(APP, layer.digest)

      const part = await house.getBlob(APP, layer.digest, { headers: { range, 'accept-encoding': 'gzip' } })

      expect([part.status, part.body.equals(bytes.subarray(start, end))]).toEqual([206, true])
      expect(part.headers).toMatchObject({
        'content-range': `bytes ${start}-${end - 1}/300000`,
        'content-length': String(end - start),
        'accept-ranges': 'bytes',
        etag: `"${layer.digest}"`,
        'docker-content-digest': layer.digest,
      })
    })
  }

  test(`a ${state} blob: no such range is 416 with its size, several are 400, another unit is ignored`, async () => {
    await using pair = await startPair()
    const { house, layer, bytes } = pair
    if (isHeld) await house.getBlob(APP, layer.digest)
    const withRange = (range: string, more = {}) => house.getBlob(APP, layer.digest, { headers: { range, ...more } })

    const beyond = await withRange('bytes=300000-')
    const several = await withRange('bytes=0-1,5-6')
    const items = await withRange('items=0-1')
    const stale = await withRange('bytes=0-1', { 'if-range': '"other"' })
    const equal = await withRange('bytes=0-1', { 'if-range': `"${layer.digest}"` })
    const known = await house.getBlob(APP, layer.digest, { headers: { 'if-none-match': `"${layer.digest}"` } })
    const head = await house.getBlob(APP, layer.digest, { method: 'HEAD', headers: { range: 'bytes=0-1' } })

    expect([beyond.status, beyond.headers['content-range']]).toEqual([416, 'bytes */300000'])
    expect(brief(several)).toEqual([400, 'UNSUPPORTED'])
    expect([items.status, items.body.length, stale.status, stale.body.length]).toEqual([200, 300_000, 200, 300_000])
    expect([equal.status, equal.body.length]).toEqual([206, 2])
    expect([known.status, known.body.length, known.headers.etag]).toEqual([304, 0, `"${layer.digest}"`])
    expect([head.status, head.headers['content-length']]).toEqual([200, String(bytes.length)])
  })
}

test('a blob whose size no header tells has the size of the manifest that names it', async () => {
  await using pair = await startPair({ match: /blobs/, act: { framing: 'chunked' } })
  const { house, layer, bytes } = pair
  await house.getManifest(APP, 'v1')

  const got = await house.getBlob(APP, layer.digest)

  expect([got.status, got.headers['content-length'], got.body.equals(bytes)]).toEqual([200, '300000', true])
})

test('a client that hangs up midway is no error, and the next one finds what it began', async () => {
  await using pair = await startPair({ match: /blobs/, times: 1, act: { bytesPerSecond: 1_000_000 } })
  const { house, fake, layer, bytes } = pair
  const first = await open(`${house.origin}/v2/${APP}/blobs/${layer.digest}`)
  await once(first, 'data')
  first.destroy()

  const next = await house.getBlob(APP, layer.digest)

  expect(next.body.equals(bytes)).toBe(true)
  expect(fake.blobRequests(layer.digest)).toHaveLength(1)
  await house.stop()
  expect(house.access.map((line) => JSON.parse(line).outcome)).toContain('left')
  expect(house.logged.filter((line) => /"level":"(warn|error)"/.test(line))).toEqual([])
})

test('a blob of the wrong bytes is never delivered whole', async () => {
  await using pair = await startPair({ match: /GET .*blobs/, act: { corruptAt: 200_000 } })
  const { house, layer, bytes } = pair

  const got = await house.getBlob(APP, layer.digest)

  expect(got.isWhole && got.status === 200).toBe(false)
  expect(got.body.length).toBeLessThan(bytes.length)
})

for (const [what, act, reference, want] of [
  ['404 to a tag', { status: 404 }, 'v1', [404, 'MANIFEST_UNKNOWN']],
  ['404 NAME_UNKNOWN', { status: 404, body: '{"errors":[{"code":"NAME_UNKNOWN"}]}' }, 'v1', [404, 'MANIFEST_UNKNOWN']],
  ['401 after a token', { status: 401 }, 'v1', [403, 'DENIED']],
  ['403', { status: 403 }, 'v1', [403, 'DENIED']],
  ['429', { status: 429, headers: { 'retry-after': '3600' } }, 'v1', [429, 'TOOMANYREQUESTS']],
  ['500', { status: 500 }, 'v1', [502, 'UNAVAILABLE']],
  ['503', { status: 503 }, 'v1', [502, 'UNAVAILABLE']],
  ['a reset', { refuse: true }, 'v1', [502, 'UNAVAILABLE']],
  [
    'a login page',
    {
      headers: { 'content-type': 'text/html', 'content-length': '15', 'docker-content-digest': null },
      body: '<html>ha</html>',
    },
    'v1',
    [502, 'UNAVAILABLE'],
  ],
] as const) {
  test(`upstream's answer ${what} becomes ${want.join(' ')}, without a challenge`, async () => {
    await using pair = await startPair({ match: /manifests/, act })
    const { house } = pair

    const got = await house.getManifest(APP, reference)
    const head = await house.getManifest(APP, reference, { method: 'HEAD' })

    expect(brief(got)).toEqual(want)
    expect([head.status, head.body.length]).toEqual([want[0], 0])
    expect(got.headers).not.toHaveProperty('www-authenticate')
    expect(Number(got.headers['retry-after'] ?? 0)).toBeLessThanOrEqual(5)
    expect(got.headers).toHaveProperty('cache-status')
  })
}

test('upstream 404 to a blob is 404 BLOB_UNKNOWN; 403 is DENIED; an outage is 502', async () => {
  await using pair = await startPair()
  const { house, fake, layer } = pair
  fake.behave({ match: /blobs/, act: { status: 404 } })
  expect(brief(await house.getBlob(APP, layer.digest))).toEqual([404, 'BLOB_UNKNOWN'])
  fake.behaveWell()
  fake.behave({ match: /blobs/, act: { status: 403 } })
  expect(brief(await house.getBlob(APP, pair.image.config.digest))).toEqual([403, 'DENIED'])
  await fake.stop()
  expect(brief(await house.getBlob(APP, pair.image.layers[1]?.digest ?? layer.digest))).toEqual([502, 'UNAVAILABLE'])
})

test('a signature that is refused where manifests may be read is absent', async () => {
  await using pair = await startPair({ match: /\.sig/, act: { status: 403 } })
  const { house, image } = pair
  await house.getManifest(APP, 'v1')

  const got = await house.getManifest(APP, `${image.digest.replace(':', '-')}.sig`)

  expect(brief(got)).toEqual([404, 'MANIFEST_UNKNOWN'])
})

for (const [told, mediaType, want, why] of [
  [`${MEDIA_TYPE.ociManifest}; charset=utf-8`, undefined, MEDIA_TYPE.ociManifest, 'parameters are dropped'],
  ['application/json', MEDIA_TYPE.dockerManifest, MEDIA_TYPE.dockerManifest, 'the one inside, where the told is none'],
  ['application/json', undefined, MEDIA_TYPE.ociManifest, 'or what the fields look like'],
] as const) {
  test(`a manifest of Content-Type ${told} goes out as ${want}: ${why}; its bytes as they came`, async () => {
    await using fake = await startUpstream()
    const bytes = Buffer.from(
      JSON.stringify(
        { schemaVersion: 2, ...(mediaType && { mediaType }), config: configOf(fake), layers: [] },
        null,
        5,
      ),
    )
    const digest = fake.addManifest(APP, bytes, told, 'v1')
    await using house = await startHouse(fake)

    for (const reference of ['v1', digest]) {
      const got = await house.getManifest(APP, reference)
      expect([got.status, got.headers['content-type']]).toEqual([200, want])
      expect(got.body).toEqual(bytes)
    }
  })
}

function configOf(fake: FakeUpstream): object {
  const bytes = Buffer.from('{}')
  return { mediaType: 'application/vnd.oci.image.config.v1+json', digest: fake.addBlob(bytes), size: bytes.length }
}

test('schema 1 is 400 MANIFEST_INVALID, saying so; a manifest over 4 MiB is 502', async () => {
  await using fake = await startUpstream()
  const old = fake.addManifest(APP, { schemaVersion: 1, name: APP }, MEDIA_TYPE.dockerSchema1Signed, 'old')
  fake.addManifest(APP, { schemaVersion: 2, pad: 'x'.repeat(4 * 1024 * 1024) }, MEDIA_TYPE.ociManifest, 'huge')
  await using house = await startHouse(fake)

  const byTag = await house.getManifest(APP, 'old')
  const byDigest = await house.getManifest(APP, old)
  const huge = await house.getManifest(APP, 'huge')

  expect([brief(byTag), brief(byDigest)]).toEqual([
    [400, 'MANIFEST_INVALID'],
    [400, 'MANIFEST_INVALID'],
  ])
  expect(byTag.body.toString()).toContain('schema 1')
  expect(brief(huge)).toEqual([502, 'UNAVAILABLE'])
})

test("tags keep upstream's order, lead on by the client's path; in an outage the known ones are told", async () => {
  await using pair = await startPair()
  const { house, fake, image } = pair
  for (const tag of ['v2', 'v3']) fake.tag(APP, tag, image.digest)

  const page = await house.ask(`/v2/${APP}/tags/list?n=2`)
  const next = /^<([^>]+)>; rel="next"$/.exec(String(page.headers['link']))?.[1] ?? ''
  const rest = await house.ask(next)
  await house.getManifest(APP, 'v1')
  await fake.stop()
  const known = await house.ask(`/v2/${APP}/tags/list?n=50`)

  expect(JSON.parse(page.body.toString())).toEqual({ name: APP, tags: ['v1', 'v2'] })
  expect(next).toMatch(new RegExp(`^/v2/${APP}/tags/list\\?`))
  expect([JSON.parse(rest.body.toString()).tags, rest.headers['link']]).toEqual([['v3'], undefined])
  expect(JSON.parse(known.body.toString()).tags).toEqual(['v1'])
  expect(known.headers['cache-status']).toBe('millpond; fwd=stale; detail=local')
})

test("referrers are upstream's, of the index's exact type; without an API, 404 MANIFEST_UNKNOWN", async () => {
  await using pair = await startPair()
  await using plain = await startUpstream({ referrers: false })
  await using other = await startHouse(plain)
  const { house, image } = pair

  const none = await house.ask(`/v2/${APP}/referrers/${image.digest}`)
  const absent = await other.ask(`/v2/${APP}/referrers/${image.digest}`)

  expect([none.status, none.headers['content-type']]).toEqual([200, MEDIA_TYPE.ociIndex])
  expect(JSON.parse(none.body.toString())).toMatchObject({ schemaVersion: 2, manifests: [] })
  expect(brief(absent)).toEqual([404, 'MANIFEST_UNKNOWN'])
})

test('fault 83: an unknown ns, prefix or denied repository dials nobody', async () => {
  await using fake = await startUpstream()
  await using house = await startHouse(fake, { upstreams: { 'registry.test': { deny: ['team/secret'] } } })
  const stranger = `127.0.0.1:${fake.port}`

  for (const path of [
    `/v2/a/manifests/1?ns=${stranger}`,
    `/${stranger}/v2/a/manifests/1`,
    '/v2/a/manifests/1?ns=unknown.example',
    '/v2/team/secret/manifests/1',
    `/v2/team/secret/blobs/sha256:${'a'.repeat(64)}`,
  ]) {
    expect(brief(await house.ask(path))).toEqual([404, 'NAME_UNKNOWN'])
  }
  expect(fake.connections).toBe(0)
})

test('the same name at two upstreams never meets, by ns, prefix and Host', async () => {
  await using one = await startUpstream()
  await using two = await startUpstream()
  const first = one.addImage(APP, 'v1', { seed: 1 })
  const second = two.addImage(APP, 'v1', { seed: 2 })
  await using house = await startHouse(one, { upstreams: { 'two.test': { of: two, hosts: ['mirror.test'] } } })
  const digestAt = async (path: string, host = 'localhost') =>
    (await house.ask(path, { headers: { host } })).headers['docker-content-digest']

  for (let turn = 0; turn < 2; turn++) {
    expect(await digestAt(`/v2/${APP}/manifests/v1`)).toBe(first.digest)
    expect(await digestAt(`/v2/${APP}/manifests/v1?ns=two.test`)).toBe(second.digest)
    expect(await digestAt(`/v2/two.test/${APP}/manifests/v1`)).toBe(second.digest)
    expect(await digestAt(`/two.test/v2/${APP}/manifests/v1`)).toBe(second.digest)
    expect(await digestAt(`/v2/${APP}/manifests/v1`, 'mirror.test:5000')).toBe(second.digest)
  }
  expect((await house.getManifest(APP, second.digest)).status).toBe(404)
})

test("fault 65: one client's narrow Accept changes nothing of another's answer, in either order", async () => {
  await using fake = await startUpstream()
  const image = fake.addImage(APP, undefined)
  const index = fake.addIndex(APP, 'v1', [image])
  for (const order of [
    [MEDIA_TYPE.ociManifest, '*/*'],
    ['*/*', MEDIA_TYPE.ociManifest],
  ]) {
    await using house = await startHouse(fake)
    for (const accept of order) {
      const got = await house.getManifest(APP, 'v1', { headers: { accept } })
      expect([got.headers['docker-content-digest'], got.headers['content-type']]).toEqual([index, MEDIA_TYPE.ociIndex])
    }
  }
  expect(new Set(fake.headersSeen.map(({ accept }) => accept)).size).toBe(1)
})

test('fault 66: no header of a client reaches upstream, and an error that one drew is not remembered', async () => {
  await using pair = await startPair()
  const { house, fake } = pair
  const hostile = {
    authorization: 'Basic eDp5',
    cookie: 'a=b',
    'x-forwarded-host': 'evil.example',
    'x-long': 'a'.repeat(60_000),
  }

  await house.getManifest(APP, 'v1', { headers: { ...hostile, 'x-longer': 'b'.repeat(10_000) } })
  const clean = await house.getManifest(APP, 'v1', { headers: hostile })

  expect(clean.status).toBe(200)
  for (const headers of fake.headersSeen) {
    for (const name of Object.keys(hostile)) expect(headers).not.toHaveProperty(name)
  }
})

test('a write that is passed on clears the negative answer, the tag and the listing that it made untrue', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage(APP, 'v1')
  await using house = await startHouse(fake, { upstreams: { 'registry.test': { push: true } } })
  const next = Buffer.from(image.manifest.toString().replace('{', '{ '))
  const type = { 'content-type': MEDIA_TYPE.ociManifest }
  const statusOf = async (tag: string) => (await house.getManifest(APP, tag)).status
  expect([await statusOf('v1'), await statusOf('v2')]).toEqual([200, 404])

  const put = await house.getManifest(APP, 'v2', { method: 'PUT', body: next, headers: type })
  await house.getManifest(APP, 'v1', { method: 'PUT', body: next, headers: type })

  expect(put.status).toBe(201)
  expect(put.headers.location).toMatch(new RegExp(`^/v2/${APP}/manifests/sha256:`))
  for (const tag of ['v1', 'v2']) expect((await house.getManifest(APP, tag)).body).toEqual(next)
  expect(JSON.parse((await house.ask(`/v2/${APP}/tags/list`)).body.toString()).tags).toEqual(['v1', 'v2'])
})

test('a blob that is pushed through is there at once, though it was absent a moment ago', async () => {
  await using fake = await startUpstream()
  await using house = await startHouse(fake, { upstreams: { 'registry.test': { push: true } } })
  const bytes = Buffer.from('a layer')
  const digest = `sha256:${(await import('node:crypto')).hash('sha256', bytes)}`
  expect((await house.getBlob(APP, digest)).status).toBe(404)

  const begun = await house.ask(`/v2/${APP}/blobs/uploads/`, { method: 'POST' })
  const ended = await house.ask(`${begun.headers.location}?digest=${digest}`, { method: 'PUT', body: bytes })

  expect([begun.status, ended.status]).toEqual([202, 201])
  expect((await house.getBlob(APP, digest)).body).toEqual(bytes)
})

test('fault 84: a drain lets a download under way end, and closes a silent connection at once', async () => {
  await using pair = await startPair({ match: /blobs/, act: { bytesPerSecond: 400_000 } })
  const { house, layer, bytes } = pair
  const silent = connect(Number(new URL(house.origin).port), '127.0.0.1')
  const got = house.getBlob(APP, layer.digest)
  await new Promise<void>((resolve) => {
    const look = () => (house.server.fillsUnderWay > 0 ? resolve() : void setImmediate(look))
    look()
  })

  const stopped = house.stop()
  await once(silent.resume(), 'close')

  expect((await got).body.equals(bytes)).toBe(true)
  await stopped
})
