import { expect, onTestFinished, test } from 'vitest'
import { MANIFEST_BYTES_MAX } from '../../src/oci/manifest.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import { startUpstream, type UpstreamOptions } from '../support/upstream.ts'
import { type HouseOptions, NEVER, ofDigest, ofTag, startHouse, until } from './house.ts'

const POLICY = { fresh: '60s', stale: '30s', staleIfError: '1h' }
const EXPIRED_MS = 90_001

async function given(options: HouseOptions = {}, upstreamOptions: UpstreamOptions = {}) {
  const upstream = await startUpstream(upstreamOptions)
  const house = await startHouse(upstream, { tags: [POLICY], ...options })
  onTestFinished(async () => {
    await house[Symbol.asyncDispose]()
    await upstream.stop()
    await house.end()
  })
  return { upstream, house, app: house.repository('team/app') }
}

const caught = (work: Promise<unknown>) => work.catch((error: unknown) => error)

test('a manifest by digest is fetched once for all who wait, then held in memory and on disk', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })

  const cold = await Promise.all([1, 2, 3].map(() => house.manifests.get(app, ofDigest(image.digest), NEVER)))
  const warm = house.manifests.find(app, ofDigest(image.digest))
  const again = await house.restart()
  onTestFinished(() => again[Symbol.asyncDispose]())
  const fromDisk = await again.manifests.get(app, ofDigest(image.digest), NEVER)

  const miss = { hit: false, fwd: 'uri-miss', fwdStatus: 200, stored: true }
  expect(cold.map(({ facts }) => facts)).toEqual([miss, { ...miss, collapsed: true }, { ...miss, collapsed: true }])
  for (const found of [...cold, warm, fromDisk]) {
    expect(found).toMatchObject({ digest: image.digest, bytes: image.manifest, mediaType: MEDIA_TYPE.ociManifest })
  }
  expect([warm?.facts, fromDisk.facts]).toEqual([{ hit: true }, { hit: true }])
  expect(upstream.pullsCounted).toBe(1)
})

test('fault 10: what headers claim of a digest is nothing against our hash', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  const headers = { 'docker-content-digest': `sha256:${'0'.repeat(64)}`, etag: '"lie"' }
  upstream.behave({ match: /GET/, act: { headers } })

  const found = await house.manifests.get(app, ofTag('v1'), NEVER)

  expect(found).toMatchObject({ digest: image.digest, bytes: image.manifest })
})

test('fault 4: a manifest by tag that was damaged on its way is asked for again, and never served', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  upstream.behave({ match: /HEAD/, act: { status: 405 } })
  upstream.behave({ match: /GET/, times: 1, act: { corruptAt: 30 } })

  const found = await house.manifests.get(app, ofTag('v1'), NEVER)

  expect(found).toMatchObject({ digest: image.digest, bytes: image.manifest })
})

test('fault 10: what a GET by tag claims of a digest is nothing either, where no HEAD was to be had', async () => {
  const { upstream, house, app } = await given({}, { headStatus: 405 })
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  upstream.behave({ match: /GET/, act: { headers: { 'docker-content-digest': `sha256:${'0'.repeat(64)}` } } })

  const found = await house.manifests.get(app, ofTag('v1'), NEVER)

  expect(found).toMatchObject({ digest: image.digest, bytes: image.manifest })
})

test('fault 4: a manifest by tag that is damaged differently each time is a failure of upstream', async () => {
  const { upstream, house, app } = await given()
  upstream.addImage('team/app', 'v1', { layers: 0 })
  upstream.behave({ match: /HEAD/, act: { status: 405 } })
  let at = 30
  upstream.behave({ match: /GET/, act: () => ({ corruptAt: at++ }) })

  const error = await caught(house.manifests.get(app, ofTag('v1'), NEVER))

  expect(error).toMatchObject({ reason: 'upstreamFailed', fault: 'digest' })
})

test('wrong bytes for a digest are a failure of upstream: nothing leaves, nothing is kept', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  upstream.behave({ match: /GET/, act: { corruptAt: 5 } })

  const error = await caught(house.manifests.get(app, ofDigest(image.digest), NEVER))

  expect(error).toMatchObject({ reason: 'upstreamFailed', fault: 'digest' })
  expect(house.disk.counts().blobs).toBe(0)
  upstream.behaveWell()
  await expect(house.manifests.get(app, ofDigest(image.digest), NEVER)).resolves.toBeDefined()
})

test('an endpoint that sends wrong bytes is passed over for one that sends the right ones', async () => {
  const liar = await startUpstream()
  onTestFinished(() => liar.stop())
  const { upstream, house, app } = await given({ before: [liar.origin] })
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  liar.addImage('team/app', 'v1', { layers: 0 })
  liar.behave({ match: /GET/, act: { corruptAt: 5 } })

  expect((await house.manifests.get(app, ofDigest(image.digest), NEVER)).bytes).toEqual(image.manifest)
})

test('fault 5: a login page in place of a tag is a failure of upstream and is not kept', async () => {
  const { upstream, house, app } = await given()
  upstream.addImage('team/app', 'v1', { layers: 0 })
  const headers = { 'content-type': 'text/html', 'docker-content-digest': null }
  upstream.behave({ match: /manifests/, act: { body: '<html>log in</html>', headers } })

  const error = await caught(house.manifests.get(app, ofTag('v1'), NEVER))

  expect(error).toMatchObject({ reason: 'upstreamFailed' })
  expect(house.disk.counts().blobs).toBe(0)
  expect(await house.index.tagsOf(app)).toEqual([])
})

test('fault 61: what is no manifest we know is shown by digest as it came, and by tag not at all', async () => {
  for (const text of [
    '{"schemaVersion":2,"config":{"digest":"x","size":1e400}}',
    '\ufeff{"schemaVersion":2}',
    '{"__proto__":{"schemaVersion":2}}',
    '{"schemaVersion":2,"layers":[{"digest":"sha256:00","size":9007199254740993}]}',
  ]) {
    const { upstream, house, app } = await given()
    const bytes = Buffer.from(text)
    const digest = upstream.addManifest('team/app', bytes, MEDIA_TYPE.ociManifest, 'odd')

    const byDigest = await house.manifests.get(app, ofDigest(digest), NEVER)
    const byTag = await caught(house.manifests.get(app, ofTag('odd'), NEVER))

    expect(byDigest).toMatchObject({ bytes, mediaType: MEDIA_TYPE.ociManifest })
    expect(byTag).toMatchObject({ reason: 'upstreamFailed' })
    expect(await house.index.findManifest(digest)).toBeUndefined()
  }
})

test('fault 62: a digest has one media type for good: the first that upstream gave', async () => {
  const { upstream, house, app } = await given()
  const other = house.repository('other/app')
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [] })) // names no type of its own
  const digest = upstream.addManifest('team/app', bytes, MEDIA_TYPE.ociManifest)
  upstream.addManifest('other/app', bytes, MEDIA_TYPE.dockerManifest)
  upstream.behave({ match: /HEAD/, act: { status: 405 } }) // so that other/app is proved by a GET

  const first = await house.manifests.get(app, ofDigest(digest), NEVER)
  const second = await house.manifests.get(other, ofDigest(digest), NEVER)

  expect([first.mediaType, second.mediaType]).toEqual([MEDIA_TYPE.ociManifest, MEDIA_TYPE.ociManifest])
})

test('fault 62: a manifest that is not what its Content-Type says is refused, by tag and by digest', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  upstream.behave({ match: /manifests/, act: { headers: { 'content-type': MEDIA_TYPE.ociIndex } } })

  for (const reference of [ofTag('v1'), ofDigest(image.digest)]) {
    expect(await caught(house.manifests.get(app, reference, NEVER))).toMatchObject({ reason: 'manifestInvalid' })
  }
  expect(house.disk.counts().blobs).toBe(0)
})

test('a generic Content-Type is no contradiction: the type inside is the type', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  upstream.behave({ match: /manifests/, act: { headers: { 'content-type': 'application/json' } } })

  const head = await house.manifests.head(app, ofTag('v1'), NEVER)

  expect(head).toMatchObject({ mediaType: MEDIA_TYPE.ociManifest, digest: image.digest })
})

test('a schema 1 manifest is refused by a sentence, at the HEAD already', async () => {
  const { upstream, house, app } = await given()
  upstream.addManifest('team/app', { schemaVersion: 1 }, MEDIA_TYPE.dockerSchema1Signed, 'old')

  const error = await caught(house.manifests.get(app, ofTag('old'), NEVER))

  expect(error).toMatchObject({ reason: 'manifestInvalid', message: expect.stringContaining('schema 1') })
  expect(upstream.pullsCounted).toBe(0)
})

test('a manifest larger than any client takes is a failure of upstream, and one at the limit is not', async () => {
  const { upstream, house, app } = await given()
  const sized = (sizeBytes: number) => {
    const empty = JSON.stringify({ schemaVersion: 2, layers: [], pad: '' })
    return Buffer.from(empty.replace('"pad":"', `"pad":"${'x'.repeat(sizeBytes - empty.length)}`))
  }
  const fits = upstream.addManifest('team/app', sized(MANIFEST_BYTES_MAX))
  const exceeds = upstream.addManifest('team/app', sized(MANIFEST_BYTES_MAX + 1))

  expect((await house.manifests.get(app, ofDigest(fits), NEVER)).bytes).toHaveLength(MANIFEST_BYTES_MAX)
  expect(await caught(house.manifests.get(app, ofDigest(exceeds), NEVER))).toMatchObject({ reason: 'upstreamFailed' })
})

test('a HEAD of what is not held costs one HEAD, tells what upstream told, and fetches nothing', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1')
  const want = { digest: image.digest, mediaType: MEDIA_TYPE.ociManifest, sizeBytes: image.manifest.length }

  const byTag = await house.manifests.head(app, ofTag('v1'), NEVER)
  const again = await house.manifests.head(app, ofTag('v1'), NEVER)
  const byDigest = await house.manifests.head(app, ofDigest(image.digest), NEVER)

  expect(byTag).toEqual({ ...want, facts: { hit: false, fwd: 'uri-miss', fwdStatus: 200 } })
  expect(again).toEqual({ ...want, facts: { hit: true, ttlS: 60 } })
  expect(byDigest).toMatchObject(want)
  expect(upstream.requests).toEqual(['HEAD /v2/team/app/manifests/v1', `HEAD /v2/team/app/manifests/${image.digest}`])
})

test("fault 65: a HEAD never fills a GET's entry: the GET brings the bytes and decides", async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1')
  upstream.behave({ match: /HEAD/, act: { headers: { 'content-length': '7', 'content-type': MEDIA_TYPE.ociIndex } } })

  await house.manifests.head(app, ofTag('v1'), NEVER)
  const found = await house.manifests.get(app, ofTag('v1'), NEVER)
  const head = await house.manifests.head(app, ofTag('v1'), NEVER)

  expect(found).toMatchObject({ bytes: image.manifest, mediaType: MEDIA_TYPE.ociManifest })
  expect(head).toMatchObject({ sizeBytes: image.manifest.length, mediaType: MEDIA_TYPE.ociManifest })
})

test('a HEAD by digest that upstream answers with too little is followed by a GET', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1')
  upstream.behave({ match: /HEAD/, act: { headers: { 'docker-content-digest': null, 'content-type': 'text/html' } } })

  const head = await house.manifests.head(app, ofDigest(image.digest), NEVER)

  expect(head).toMatchObject({ mediaType: MEDIA_TYPE.ociManifest, sizeBytes: image.manifest.length })
  expect(upstream.pullsCounted).toBe(1)
})

test('while upstream is out, a GET by tag is answered only where the blobs are held too; a HEAD always', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 1 })
  await house.manifests.get(app, ofTag('v1'), NEVER)
  await upstream.stop()
  house.clock.advance(EXPIRED_MS)

  const head = await house.manifests.head(app, ofTag('v1'), NEVER)
  const without = await caught(house.manifests.get(app, ofTag('v1'), NEVER))
  for (const { digest } of [image.config, ...image.layers]) {
    await house.hold('team/app', digest, image.bytesOf(digest))
  }
  const found = await house.manifests.get(app, ofTag('v1'), NEVER)

  expect(head).toMatchObject({ digest: image.digest, facts: { hit: false, fwd: 'stale' } })
  expect(without).toMatchObject({ reason: 'upstreamFailed' })
  expect(found).toMatchObject({ bytes: image.manifest, facts: { hit: false, fwd: 'stale' } })
})

test('of an index, one platform that is held is enough', async () => {
  const { upstream, house, app } = await given()
  const images = [1, 2].map((seed) => upstream.addImage('team/app', undefined, { seed, layers: 0 }))
  const index = upstream.addIndex('team/app', 'v1', images)
  const [held] = images
  if (!held) throw new Error('no image')
  await house.manifests.get(app, ofTag('v1'), NEVER)
  await house.manifests.get(app, ofDigest(held.digest), NEVER)
  await house.hold('team/app', held.config.digest, held.bytesOf(held.config.digest))
  await upstream.stop()
  house.clock.advance(EXPIRED_MS)

  expect((await house.manifests.get(app, ofTag('v1'), NEVER)).digest).toBe(index)
})

test('a signature that is refused is absent where what it signs may be read, and refused elsewhere', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1')
  const stranger = upstream.addImage('other/app', 'v1', { seed: 2 })
  upstream.behave({ match: /sig$|other/, act: { status: 403, body: '' } })
  const signatureOf = (digest: string) => ofTag(`${digest.replace(':', '-')}.sig`)

  const here = await caught(house.manifests.get(app, signatureOf(image.digest), NEVER))
  const elsewhere = await caught(
    house.manifests.get(house.repository('other/app'), signatureOf(stranger.digest), NEVER),
  )

  expect(here).toMatchObject({ reason: 'manifestUnknown' })
  expect(elsewhere).toMatchObject({ reason: 'denied' })
})

test('a full disk costs no answer', async () => {
  const { upstream, house, app } = await given({ cap: { bytes: 64 } })
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })

  const found = await house.manifests.get(app, ofTag('v1'), NEVER)

  expect(found).toMatchObject({ bytes: image.manifest, facts: { hit: false, fwd: 'uri-miss', fwdStatus: 200 } })
  expect(found.facts.stored).toBeUndefined()
  expect(house.disk.counts().blobs).toBe(0)
})

test('a manifest that the index lost is read from its bytes, and indexed again', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 1 })
  await house.manifests.get(app, ofDigest(image.digest), NEVER)
  await house.index.forgetManifest(image.digest)

  const again = await house.restart()
  onTestFinished(() => again[Symbol.asyncDispose]())
  const found = await again.manifests.get(app, ofDigest(image.digest), NEVER)

  expect(found).toMatchObject({ bytes: image.manifest, mediaType: MEDIA_TYPE.ociManifest, facts: { hit: true } })
  expect((await again.index.findManifest(image.digest))?.children).toHaveLength(2)
})

test('a write makes untrue that something is absent', async () => {
  const { upstream, house, app } = await given()
  const layerless = { schemaVersion: 2, layers: [] }
  const absent = await caught(house.manifests.get(app, ofTag('new'), NEVER))
  const digest = upstream.addManifest('team/app', layerless, MEDIA_TYPE.ociManifest, 'new')

  await house.manifests.forget(app, ofTag('new'))

  expect(absent).toMatchObject({ reason: 'manifestUnknown' })
  expect((await house.manifests.get(app, ofTag('new'), NEVER)).digest).toBe(digest)
})

test('a manifest that is deleted through us is shown no longer, by digest or by a tag that led to it', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  await house.manifests.get(app, ofTag('v1'), NEVER)
  upstream.remove('team/app', image.digest)
  upstream.remove('team/app', 'v1')

  await house.manifests.forget(app, ofDigest(image.digest))

  for (const reference of [ofTag('v1'), ofDigest(image.digest)]) {
    expect(await caught(house.manifests.get(app, reference, NEVER))).toMatchObject({ reason: 'manifestUnknown' })
  }
})

test('a client that leaves is told nothing more, and what it asked for is kept for the next', async () => {
  const { upstream, house, app } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  upstream.behave({ match: /GET/, act: { delayMs: 50 } })
  const leaving = new AbortController()

  const left = caught(house.manifests.get(app, ofDigest(image.digest), leaving.signal))
  await until(() => upstream.requests.length === 1)
  leaving.abort('left')

  expect(await left).toBe('left')
  await until(() => house.manifests.find(app, ofDigest(image.digest)) !== undefined)
})

test('an upstream that is not configured is never asked', async () => {
  const { house } = await given()
  const stranger = { ...house.repository('team/app'), host: 'stranger.test' as typeof house.upstream.host }

  expect(await caught(house.manifests.get(stranger, ofTag('v1'), NEVER))).toMatchObject({ reason: 'nameUnknown' })
})
