import { expect, onTestFinished, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import { startUpstream, type UpstreamOptions } from '../support/upstream.ts'
import { NEVER, ofDigest, ofTag, startHouse } from './house.ts'

async function given(upstreamOptions: UpstreamOptions = {}) {
  const upstream = await startUpstream(upstreamOptions)
  const house = await startHouse(upstream)
  onTestFinished(async () => {
    await house[Symbol.asyncDispose]()
    await upstream.stop()
    await house.end()
  })
  const image = upstream.addImage('team/app', 'a', { layers: 0 })
  for (const tag of ['b', 'c', 'd']) upstream.tag('team/app', tag, image.digest)
  return { upstream, house, image, app: house.repository('team/app') }
}

const caught = (work: Promise<unknown>) => work.catch((error: unknown) => error)
const tagsIn = ({ bytes }: { bytes: Buffer }): string[] => JSON.parse(String(bytes)).tags
const digestsIn = ({ bytes }: { bytes: Buffer }): string[] =>
  JSON.parse(String(bytes)).manifests.map(({ digest }: { digest: string }) => digest)

test('tags are relayed as upstream gives them, page by page', async () => {
  const { house, app } = await given()

  const first = await house.listings.tags(app, { n: 3 }, NEVER)
  const last = first.link?.get('last') ?? ''
  const second = await house.listings.tags(app, { n: 3, last }, NEVER)

  expect(tagsIn(first)).toEqual(['a', 'b', 'c'])
  expect(first).toMatchObject({ contentType: 'application/json', facts: { hit: false, fwd: 'uri-miss' } })
  expect(tagsIn(second)).toEqual(['d'])
  expect(second.link).toBeUndefined()
})

test('an upstream that knows no pages has them cut here', async () => {
  const { upstream, house, app } = await given()
  upstream.behave({ match: /tags/, act: { body: '{"name":"x","tags":["a","b","c","d"]}', headers: { link: null } } })

  const second = await house.listings.tags(app, { n: 2, last: 'b' }, NEVER)

  expect(tagsIn(second)).toEqual(['c', 'd'])
})

test('an upstream that pages by a token of its own is followed by clients who send n and last alone', async () => {
  const { upstream, house, app } = await given()
  upstream.behave({
    match: /tags/,
    act: ({ url }) =>
      url.includes('next_token=x%2Fy')
        ? { body: '{"name":"team/app","tags":["c","d"]}', headers: { link: null } }
        : {
            body: '{"name":"team/app","tags":["a","b"]}',
            headers: { link: '</v2/x?n=2&next_token=x%2Fy>; rel="next"' },
          },
  })

  const first = await house.listings.tags(app, { n: 2 }, NEVER)
  const second = await house.listings.tags(app, { n: 2, last: first.link?.get('last') ?? '' }, NEVER)

  expect([...(first.link?.keys() ?? [])]).toEqual(['n', 'last'])
  expect(tagsIn(second)).toEqual(['c', 'd'])
  expect(upstream.requests.at(-1)).toBe('GET /v2/team/app/tags/list?n=2&next_token=x%2Fy')
})

test('while upstream is out, what was remembered for the query is shown, else the tags that are known', async () => {
  const { upstream, house, app } = await given()
  await house.listings.tags(app, {}, NEVER)
  for (const tag of ['b', 'c']) await house.manifests.get(app, ofTag(tag), NEVER)
  await upstream.stop()

  const remembered = await house.listings.tags(app, {}, NEVER)
  const local = await house.listings.tags(app, { n: 1 }, NEVER)

  expect(tagsIn(remembered)).toEqual(['a', 'b', 'c', 'd'])
  expect(remembered.facts).toEqual({ hit: false, fwd: 'stale' })
  expect(tagsIn(local)).toEqual(['b'])
  expect(local.facts).toEqual({ hit: false, fwd: 'stale', detail: 'local' })
  expect(local.link?.toString()).toBe('n=1&last=b')
})

test('while upstream is out and nothing is known, that is told', async () => {
  const { upstream, house, app } = await given()
  await upstream.stop()

  expect(await caught(house.listings.tags(app, {}, NEVER))).toMatchObject({ reason: 'upstreamFailed' })
  expect(await caught(house.listings.referrers(app, digestOf(Buffer.from('x')), {}, NEVER))).toMatchObject({
    reason: 'upstreamFailed',
  })
})

test('a repository that is refused to us shows nothing that is remembered, nor does the outage after it', async () => {
  const { upstream, house, app } = await given()
  await house.listings.tags(app, {}, NEVER)
  await house.manifests.get(app, ofTag('a'), NEVER)
  upstream.behave({ match: /./, act: { status: 403, body: '' } })

  const refused = await caught(house.listings.tags(app, {}, NEVER))
  await upstream.stop()
  house.clock.advance(5_001)

  expect(refused).toMatchObject({ reason: 'denied' })
  expect(await caught(house.listings.tags(app, {}, NEVER))).toMatchObject({ reason: 'upstreamFailed' })
})

test('a repository that upstream does not have is remembered for 10 s, until a write', async () => {
  const { upstream, house } = await given()
  const newer = house.repository('team/new')

  const first = await caught(house.listings.tags(newer, {}, NEVER))
  upstream.addImage('team/new', 'v1')
  const second = await caught(house.listings.tags(newer, {}, NEVER))
  await house.listings.forget(newer)

  for (const error of [first, second]) expect(error).toMatchObject({ reason: 'nameUnknown' })
  expect(tagsIn(await house.listings.tags(newer, {}, NEVER))).toEqual(['v1'])
})

test('what is no list of tags is a failure of upstream and is not remembered', async () => {
  const { upstream, house, app } = await given()
  upstream.behave({ match: /tags/, act: { body: '<html>log in</html>' } })

  expect(await caught(house.listings.tags(app, {}, NEVER))).toMatchObject({ reason: 'upstreamFailed' })
  upstream.behaveWell()
  expect(tagsIn(await house.listings.tags(app, {}, NEVER))).toHaveLength(4)
})

test('those who list the same at once have it asked for once', async () => {
  const { upstream, house, app } = await given()

  const found = await Promise.all([1, 2, 3].map(() => house.listings.tags(app, {}, NEVER)))

  expect(upstream.requestsOf('tags')).toHaveLength(1)
  expect(found.filter(({ facts }) => facts.collapsed)).toHaveLength(2)
})

function withReferrer(upstream: Awaited<ReturnType<typeof startUpstream>>, subject: string, artifactType: string) {
  const config = { mediaType: artifactType, digest: digestOf(Buffer.from('{}')), size: 2 }
  const about = { mediaType: MEDIA_TYPE.ociManifest, digest: subject, size: 1 }
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers: [], subject: about }
  return upstream.addManifest('team/app', { ...document, artifactType })
}

test('referrers are relayed with their exact type and filters, and are fresh for some seconds', async () => {
  const { upstream, house, app, image } = await given()
  const sbom = withReferrer(upstream, image.digest, 'sbom/x')
  withReferrer(upstream, image.digest, 'sig/x')

  const found = await house.listings.referrers(app, image.digest, { artifactType: 'sbom/x' }, NEVER)
  const again = await house.listings.referrers(app, image.digest, { artifactType: 'sbom/x' }, NEVER)
  house.clock.advance(10_000)
  const later = await house.listings.referrers(app, image.digest, { artifactType: 'sbom/x' }, NEVER)

  expect(digestsIn(found)).toEqual([sbom])
  expect(found).toMatchObject({ contentType: MEDIA_TYPE.ociIndex, filters: 'artifactType' })
  expect([found, again, later].map(({ facts }) => facts.hit)).toEqual([false, true, false])
})

test('referrers that upstream gives in pages are gathered into one index', async () => {
  const { upstream, house, app, image } = await given()
  const page = (digest: string) => JSON.stringify({ schemaVersion: 2, manifests: [{ digest }] })
  upstream.behave({
    match: /referrers/,
    act: ({ url }) =>
      url.includes('page=2')
        ? { body: page('second'), headers: { 'content-type': MEDIA_TYPE.ociIndex } }
        : { body: page('first'), headers: { link: '<?page=2>; rel="next"' } },
  })

  const found = await house.listings.referrers(app, image.digest, {}, NEVER)

  expect(digestsIn(found)).toEqual(['first', 'second'])
  expect(found.link).toBeUndefined()
})

for (const [act, why] of [
  [{ status: 404, body: '' }, 'it has no such API'],
  [{ status: 405, body: '' }, 'likewise'],
  [{ status: 400, body: '' }, 'it takes the digest for a bad one'],
  [{ headers: { 'content-type': 'application/json' } }, 'it answers with something else'],
] as const) {
  test(`referrers are unknown, and clients take the tag, at ${JSON.stringify(act)}: ${why}`, async () => {
    const { upstream, house, app, image } = await given()
    upstream.behave({ match: /referrers/, act })

    const error = await caught(house.listings.referrers(app, image.digest, {}, NEVER))

    expect(error).toMatchObject({ reason: 'manifestUnknown' })
  })
}

test('while upstream is out, referrers are made up of the manifests that are known, and filtered', async () => {
  const { upstream, house, app, image } = await given()
  const sbom = withReferrer(upstream, image.digest, 'sbom/x')
  const signature = withReferrer(upstream, image.digest, 'sig/x')
  for (const digest of [sbom, signature]) await house.manifests.get(app, ofDigest(digest), NEVER)
  await upstream.stop()

  const all = await house.listings.referrers(app, image.digest, {}, NEVER)
  const some = await house.listings.referrers(app, image.digest, { artifactType: 'sig/x' }, NEVER)

  expect(digestsIn(all).sort()).toEqual([sbom, signature].sort())
  expect(all.facts).toEqual({ hit: false, fwd: 'stale', detail: 'local' })
  expect(all.filters).toBeUndefined()
  expect(digestsIn(some)).toEqual([signature])
  expect(some).toMatchObject({ contentType: MEDIA_TYPE.ociIndex, filters: 'artifactType' })
})

test('an upstream that said it has no list of referrers is taken at its word while it is out', async () => {
  const { upstream, house, app, image } = await given()
  upstream.behave({ match: /referrers/, act: { status: 404, body: '' } })
  await house.manifests.get(app, ofTag('a'), NEVER)
  await caught(house.listings.referrers(app, image.digest, {}, NEVER))
  await house.listings.tags(app, {}, NEVER)
  house.clock.advance(60_000)
  await upstream.stop()

  const found = await house.listings.referrers(app, image.digest, {}, NEVER)
  const other = await house.listings.referrers(app, digestOf(Buffer.from('x')), {}, NEVER)
  const tags = await house.listings.tags(app, {}, NEVER)

  expect(digestsIn(found)).toEqual([])
  expect(digestsIn(other), 'it has none for the whole repository').toEqual([])
  expect(found.facts).toEqual({ hit: false, fwd: 'stale', detail: 'local' })
  expect(tags.facts, 'what else is remembered stays').toEqual({ hit: false, fwd: 'stale' })
})

test('fault 90: what is asked of a repository that somebody made up leaves nothing on the disk', async () => {
  const { upstream, house, image } = await given()
  upstream.behave({ match: /referrers/, act: { status: 404, body: '' } })
  const nowhere = house.repository('made/up')
  await caught(house.listings.referrers(nowhere, image.digest, {}, NEVER))
  await upstream.stop()
  house.clock.advance(60_000)

  const error = await caught(house.listings.referrers(nowhere, image.digest, {}, NEVER))

  expect(error, 'no word of upstream was kept').toMatchObject({ reason: 'upstreamFailed' })
})

test('of what a tag points to upstream’s word is kept too, before anyone has had it', async () => {
  const { upstream, house, app, image } = await given()
  upstream.behave({ match: /referrers/, act: { status: 404, body: '' } })
  await house.manifests.head(app, ofTag('a'), NEVER)
  await caught(house.listings.referrers(app, image.digest, {}, NEVER))
  await upstream.stop()
  house.clock.advance(60_000)

  const found = await house.listings.referrers(app, image.digest, {}, NEVER)

  expect(JSON.parse(found.bytes.toString())).toMatchObject({ manifests: [] })
})

test('where the fallback tag is known it says more: clients are sent there, in an outage too', async () => {
  const { upstream, house, app, image } = await given()
  upstream.behave({ match: /referrers/, act: { status: 404, body: '' } })
  const fallback = image.digest.replace(':', '-')
  upstream.tag('team/app', fallback, image.digest)
  await house.manifests.get(app, ofTag(fallback), NEVER)
  await caught(house.listings.referrers(app, image.digest, {}, NEVER))
  house.clock.advance(60_000)
  await upstream.stop()

  const error = await caught(house.listings.referrers(app, image.digest, {}, NEVER))

  expect(error).toMatchObject({ reason: 'manifestUnknown' })
})
