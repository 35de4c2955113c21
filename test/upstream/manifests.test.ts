import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { parseReference } from '../../src/oci/names.ts'
import type { Act } from '../support/misbehave.ts'
import { startUpstream } from '../support/upstream.ts'
import { faultOf, latest, named, never, path, resolverOf, upstreamAt } from './support.ts'

const MIB = 1024 * 1024

async function housed(act: Act = {}, match = /manifests/) {
  const fake = await startUpstream()
  const image = fake.addImage('library/a', 'latest')
  fake.behave({ match, act })
  const upstream = upstreamAt(fake.origin)
  const dispose = async () => {
    await upstream[Symbol.asyncDispose]()
    await fake.stop()
  }
  return { fake, image, upstream, [Symbol.asyncDispose]: dispose }
}

test('fault 7: a manifest that was encoded unasked is decoded; its digest decides', async () => {
  await using house = await housed({ encoding: 'gzip' })

  expect(await house.upstream.getManifest(path, latest, never)).toMatchObject({ bytes: house.image.manifest })
  expect(await house.upstream.headManifest(path, latest, never)).toMatchObject({ sizeBytes: undefined })
})

test('fault 7: a bomb costs no more than a large manifest', async () => {
  const bomb = gzipSync(Buffer.alloc(128 * MIB))
  await using house = await housed({ body: bomb, headers: { 'content-encoding': 'gzip' } })
  const before = process.memoryUsage().rss

  expect(await faultOf(house.upstream.getManifest(path, latest, never))).toBe('upstreamFailed encoding')
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * MIB)
})

for (const [act, want, why] of [
  [{ body: Buffer.alloc(4 * MIB, ' ') }, 'nothing', 'just as large as it may be'],
  [{ body: Buffer.alloc(4 * MIB + 1, ' ') }, 'upstreamFailed size', 'too large'],
  [{ headers: { 'content-encoding': 'gzip, gzip' } }, 'upstreamFailed encoding', 'encoded twice'],
  [{ headers: { 'content-encoding': 'rot13' } }, 'upstreamFailed encoding', 'encoded by who knows what'],
  [{ headers: { 'content-encoding': 'gzip' } }, 'upstreamFailed encoding', 'not encoded as it says'],
  [{ headers: { 'docker-content-digest': ['sha256:a', 'sha256:a'] } }, 'upstreamFailed header', 'two digests'],
  [{ headers: { 'content-type': ['text/html', 'a/b'] } }, 'upstreamFailed header', 'two types'],
  [{ headers: { 'content-length': ['5', '5'] } }, 'upstreamFailed header', 'two lengths'],
  [{ headers: { pad: 'x'.repeat(70_000) } }, 'upstreamFailed header', 'headers without measure'],
  [{ status: 500 }, 'upstreamFailed status', 'a failure'],
  [{ status: 204, headers: { 'content-length': null } }, 'upstreamFailed status', 'nothing, successfully'],
  [{ status: 206 }, 'upstreamFailed status', 'a part that nobody asked for'],
  [{ cutAfter: 20 }, 'upstreamFailed cut', 'a cut'],
] as const satisfies [Act, string, string][]) {
  test(`fault 10 and kin: a manifest that is ${why}: ${want}`, async () => {
    await using house = await housed(act)

    expect(await faultOf(house.upstream.getManifest(path, latest, never))).toBe(want)
    house.fake.behaveWell()
    expect(await house.upstream.getManifest(path, latest, never)).toMatchObject({ bytes: house.image.manifest })
  })
}

test('fault 10: a digest that is none, or lies, is no more than a hint', async () => {
  const lie = `sha256:${createHash('sha256').digest('hex')}`
  await using none = await housed({ headers: { 'docker-content-digest': 'md5:77' } })
  await using lying = await housed({ headers: { 'docker-content-digest': lie } })

  expect(await none.upstream.getManifest(path, latest, never)).toMatchObject({ digest: undefined })
  expect(await lying.upstream.getManifest(path, latest, never)).toMatchObject({
    digest: lie,
    bytes: lying.image.manifest,
  })
})

test('fault 11: one fixed Accept for every manifest, and a HEAD that fails is not repeated as a GET', async () => {
  await using house = await housed({ status: 405 }, /HEAD/)
  await using failing = await housed({ status: 500 }, /HEAD/)

  expect(await house.upstream.headManifest(path, latest, never)).toEqual({ at: 'unheadable' })
  await house.upstream.getManifest(path, latest, never)
  expect(await faultOf(failing.upstream.headManifest(path, latest, never))).toBe('upstreamFailed status')
  expect(new Set(house.fake.headersSeen.map(({ accept }) => accept)).size).toBe(1)
  expect(failing.fake.requests).toHaveLength(1)
})

for (const [location, want, why] of [
  [(origin: string) => `${origin}/v2/library/a/manifests/latest`, 'redirect', 'a loop'],
  [() => 'ftp://x/y', 'redirect', 'to no web address'],
  [() => 'http://[bad', 'redirect', 'to no address'],
  [() => '', 'redirect', 'to itself, by an empty location'],
] as const) {
  test(`fault 13: a redirect ${why} ends`, async () => {
    await using house = await housed()
    house.fake.behave({ match: /manifests/, act: { redirect: () => location(house.fake.origin) } })

    expect(await faultOf(house.upstream.getManifest(path, latest, never))).toBe(`upstreamFailed ${want}`)
    expect(house.fake.requests.length).toBeLessThanOrEqual(6)
  })
}

test('fault 13: five redirects are followed, the sixth is not', async () => {
  await using house = await housed()
  const hops = (count: number) =>
    house.fake.behave({
      match: /latest|hop/,
      act: ({ url }) => {
        const hop = Number(/hop-([0-9]+)/.exec(url)?.[1] ?? 0)
        return hop === count
          ? { redirect: `/v2/library/a/manifests/${house.image.digest}` }
          : { redirect: `/hop-${hop + 1}` }
      },
    })

  hops(4)
  expect(await house.upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  hops(5)
  expect(await faultOf(house.upstream.getManifest(path, latest, never))).toBe('upstreamFailed redirect')
})

test('several Locations are refused, and a redirect without one too', async () => {
  await using two = await housed({ status: 307, headers: { location: ['/a', '/b'] } })
  await using none = await housed({ status: 302 })

  expect(await faultOf(two.upstream.getManifest(path, latest, never))).toBe('upstreamFailed header')
  expect(await faultOf(none.upstream.getManifest(path, latest, never))).toBe('upstreamFailed redirect')
})

test('listings come with their link and filters, and a redirect that drops the query gets it back', async () => {
  await using fake = await startUpstream()
  await using moved = await startUpstream()
  const image = fake.addImage('library/a', 'a')
  fake.tag('library/a', 'b', image.digest)
  moved.tag('library/a', 'b', image.digest)
  const artifact = { schemaVersion: 2, artifactType: 'x/y', subject: { digest: image.digest }, layers: [] }
  const referrer = fake.addManifest('library/a', artifact)
  await using upstream = upstreamAt(fake.origin)

  const page = await upstream.getTags(path, { n: 1 }, never)
  const referrers = await upstream.getReferrers(path, image.digest, { artifactType: 'x/y' }, never)
  fake.behave({ match: /tags/, act: { redirect: `${moved.origin}/v2/library/a/tags/list` } })
  await upstream.getTags(path, { n: 1, last: 'a' }, never)

  expect(page).toMatchObject({ at: 'found', link: '</v2/library/a/tags/list?n=1&last=a>; rel="next"' })
  expect(referrers).toMatchObject({ filters: 'artifactType', contentType: 'application/vnd.oci.image.index.v1+json' })
  expect('bytes' in referrers && String(referrers.bytes)).toContain(referrer)
  expect(moved.requests).toEqual(['GET /v2/library/a/tags/list?n=1&last=a'])
})

for (const status of [400, 404, 405, 406, 501]) {
  test(`referrers answered ${status} are absent: the fallback tag is to be asked`, async () => {
    await using house = await housed({ status }, /referrers/)

    expect(await house.upstream.getReferrers(path, house.image.digest, {}, never)).toEqual({ at: 'absent' })
  })
}

test('a path in the endpoint comes before /v2/', async () => {
  await using fake = await startUpstream()
  await using upstream = upstreamAt(`${fake.origin}/hub/`)
  await upstream.headManifest(path, parseReference('latest'), never).catch(() => undefined) // no such route there

  expect(fake.requests).toEqual(['HEAD /hub/v2/library/a/manifests/latest'])
})

test('docker.io means registry-1.docker.io, and other hosts themselves, over TLS', async () => {
  await using hub = upstreamAt([], { host: 'docker.io' })
  await using other = upstreamAt([], { host: 'ghcr.io:444' })

  expect(hub.endpoints.map(({ url }) => url.href)).toEqual(['https://registry-1.docker.io/'])
  expect(other.endpoints.map(({ url }) => url.href)).toEqual(['https://ghcr.io:444/'])
})

test('a blob whose HEAD was signed for GET is asked for its first byte', async () => {
  await using fake = await startUpstream()
  await using storage = await startUpstream()
  const { config: blob } = fake.addImage('library/a', 'latest')
  const empty = fake.addBlob(Buffer.alloc(0))
  storage.addImage('library/a', 'latest')
  storage.addBlob(Buffer.alloc(0))
  const { lookup } = resolverOf()
  fake.behave({ match: /blobs/, act: ({ url }) => ({ redirect: named(storage.origin, 'storage.example') + url }) })
  await using upstream = upstreamAt(fake.origin, { parts: { lookup } })
  for (const status of [401, 403, 405]) {
    storage.behave({ match: /HEAD/, act: { status } })
    expect(await upstream.headBlob(path, blob.digest, never)).toMatchObject({ at: 'found', sizeBytes: blob.size })
  }
  expect(await upstream.headBlob(path, empty, never)).toMatchObject({ at: 'found', sizeBytes: 0 })
})

test('fault 12: a signed location that expired is asked for again, and is no verdict on us', async () => {
  await using fake = await startUpstream()
  await using storage = await startUpstream()
  const { layers } = fake.addImage('library/a', 'latest')
  const [layer] = layers
  if (!layer) throw new Error('no layer')
  storage.addImage('library/a', 'latest')
  let signature = 0
  fake.behave({ match: /blobs/, act: ({ url }) => ({ redirect: `${storage.origin}${url}?sig=${++signature}` }) })
  storage.behave({ match: /sig=1\b/, act: { status: 403 } })
  await using upstream = upstreamAt(fake.origin)
  const open = () => upstream.endpoints[0]?.openBlob(path, layer.digest, { start: 10 }, never) ?? Promise.reject()

  expect(await faultOf(open())).toBe('upstreamFailed redirect')
  expect(await open()).toMatchObject({ at: 'found', start: 10 })
  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
})
