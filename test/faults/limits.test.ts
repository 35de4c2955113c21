import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { NEVER, ofDigest, startHouse as startCache } from '../cache/house.ts'
import { startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'
import { ROOT } from '../tidy/source.ts'

/** Each limit of clients, upstreams and ourselves, and the tests of it, at the limit and one beyond. */
const PROVED: Readonly<Record<string, readonly (readonly [file: string, title: string])[]>> = {
  'request head, 64 KiB': [['registry/limits', 'a head of the very limit is answered, one byte more is 431']],
  'name 255, tag 128': [['registry/request', 'names of 255 characters are taken, and no longer ones; tags of 128']],
  'connections 4,096': [['registry/limits', 'one connection too many is answered 503']],
  'connections of an address, off': [['registry/limits', 'an address has as many connections as it may']],
  'headers 10 s': [['registry/front', 'fault 24: a slow head and a silent socket are closed']],
  'idle 125 s': [['registry/limits', 'a connection is kept as long as configured between two requests']],
  'requests of a connection 1,000': [['registry/limits', 'fault 25: of 20,000 requests sent ahead 1,000 are answered']],
  'manifest 4 MiB': [
    ['oci/manifest', 'more than 4 MiB, and not one byte less'],
    [
      'cache/manifests',
      'a manifest larger than any client takes is a failure of upstream, and one at the limit is not',
    ],
  ],
  'JSON depth 32': [['faults/limits', 'JSON of 32 levels is a manifest, of 33 it is none']],
  'descriptors 10,000': [['oci/manifest', 'more than 10,000 descriptors']],
  'token 64 KiB': [['upstream/tokens', 'fault 14: the token endpoint answers with']],
  'error 64 KiB': [['upstream/budgets', 'fault 18: a hundred 404s with']],
  'tags page 4 MiB': [['faults/limits', 'a page of tags of 4 MiB is told on, one byte more is a failure of upstream']],
  'read buffers 256 MiB': [['store/buffers', 'fault 21: the buffers of 4,096 clients']],
  'manifests in memory 64 MiB': [['faults/limits', 'manifests in memory are as many as fit']],
  'free disk kept': [['store/disk-use', 'space that is kept free on the volume counts']],
  'watermarks of the cap': [
    ['cache/evictor', 'above the high watermark a pass evicts down to the low one'],
    ['cache/evictor', 'below the high watermark nothing is evicted'],
  ],
  'file descriptors kept 256': [['base/descriptors', 'the descriptors of']],
  'upstream connect, headers, idle': [['upstream/budgets', 'ends as slow, and its socket is destroyed']],
  'minimum rate of upstream': [['upstream/blobs', 'fault 8: an upstream that drips is given up']],
  'minimum rate of clients': [['registry/limits', 'fault 21: a client that stops reading is cut a minute later']],
  'connections of an endpoint': [['upstream/blob-sockets', 'twenty-five at once share twenty-four']],
  'fills 64': [['cache/fill-endings', 'beyond sixty-four fills the next wait']],
  'abandoned fills 16': [['cache/fill', 'a fill without readers beyond the sixteenth stops']],
  'waiters of a key 2,000': [['cache/shared-asks', 'two thousand may wait for one answer; the next is told']],
  'attempts 5, and their pauses': [
    ['cache/fill', 'a source that fails without progress is given up after its attempts'],
  ],
  'negative answers 10 s, 5 s': [['cache/resolver', 'for a tag that is not known is remembered for']],
  'token life': [['upstream/tokens', '} comes a life of ']],
  'event-loop lag, told': [['base/loop-lag', 'a loop that was late is told in the log']],
  'event-loop lag, unready': [['admin/admin', 'fault 89: not ready, and says why']],
}

for (const [limit, tests] of Object.entries(PROVED)) {
  test(`the limit "${limit}" is proved by a test`, () => {
    for (const [file, title] of tests) {
      expect(readFileSync(join(ROOT, 'test', `${file}.test.ts`), 'utf8')).toContain(title)
    }
  })
}

test('JSON of 32 levels is a manifest, of 33 it is none', async () => {
  await using fake = await startUpstream()
  await using house = await startHouse(fake)
  const nested = (levels: number) =>
    JSON.parse(`{"schemaVersion":2,"x":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`)
  fake.addManifest('a/b', nested(32), undefined, 'within')
  fake.addManifest('a/b', nested(33), undefined, 'beyond')

  expect((await house.getManifest('a/b', 'within')).status).toBe(200)
  expect((await house.getManifest('a/b', 'beyond')).status).toBe(502)
})

test('a page of tags of 4 MiB is told on, one byte more is a failure of upstream', async () => {
  await using fake = await startUpstream()
  await using house = await startHouse(fake)
  const page = (bytes: number) => {
    const empty = JSON.stringify({ name: 'a/b', tags: ['v1'], pad: '' })
    return empty.replace('"pad":""', `"pad":"${'x'.repeat(bytes - empty.length)}"`)
  }

  fake.behave({ match: /tags\/list/, act: { status: 200, body: page(4 * 1024 * 1024) } })
  expect((await house.ask('/v2/a/b/tags/list')).status).toBe(200)
  fake.behave({ match: /tags\/list/, act: { status: 200, body: page(4 * 1024 * 1024 + 1) } })
  expect((await house.ask('/v2/a/c/tags/list')).status).toBe(502)
})

test('manifests in memory are as many as fit; the others are on disk', async () => {
  await using fake = await startUpstream()
  await using house = await startCache(fake, { memoryBytes: 1024 * 1024 })
  onTestFinished(house.end)
  const images = [1, 2, 3].map((seed) => ({
    schemaVersion: 2,
    layers: [],
    annotations: { seed: 'x'.repeat(400_000 + seed) },
  }))
  const digests = images.map((image) => fake.addManifest('a/b', image))
  const repository = house.repository('a/b')

  const [first] = digests
  if (!first) throw new Error('no manifest')
  for (const digest of digests) await house.manifests.get(repository, ofDigest(digest), NEVER)

  expect(digests.map((digest) => house.manifests.find(repository, ofDigest(digest)) !== undefined)).toEqual([
    false,
    true,
    true,
  ])
  fake.requests.length = 0
  await house.manifests.get(repository, ofDigest(first), NEVER)
  expect(fake.requests).toEqual([])
})

test('fault 15: a limit of upstream is counted when it was met, and not for each ask that it saved', async () => {
  await using fake = await startUpstream({ hub: { limit: 0, retryAfter: '60' } })
  for (let seed = 0; seed < 5; seed += 1) fake.addImage('a/b', `v${seed}`, { seed })
  await using house = await startHouse(fake)

  for (let count = 0; count < 5; count += 1) expect((await house.getManifest('a/b', `v${count}`)).status).not.toBe(200)

  const met = fake.requestsOf(/^GET .*manifests/).length
  expect(met).toBe(1)
  expect(await house.number('millpond_fill_failures_total{fault="limited"}')).toBe(met)
})

test('what clients are refused is counted by its reason, and nothing else has a label', async () => {
  await using fake = await startUpstream()
  await using house = await startHouse(fake)
  const before = (await house.askAdmin('/metrics')).body.toString().match(/^millpond_refused_total\{/gm)?.length

  await house.ask('/v2/a%00b/manifests/v1')
  await house.ask('/v2/a/b/blobs/sha256:no')
  await house.ask(`/v2/${'x'.repeat(300)}/tags/list`)
  await house.ask('/v2/a/b/manifests/v1', { headers: { 'X-Long': 'x'.repeat(70_000) } })

  expect(await house.number('millpond_refused_total{reason="nameInvalid"}')).toBe(2)
  expect(await house.number('millpond_refused_total{reason="digestInvalid"}')).toBe(1)
  expect(await house.number('millpond_refused_total{reason="headTooLarge"}')).toBe(1)
  expect(await house.number('millpond_refused_total{reason="tooManyConnections"}')).toBe(0)
  expect((await house.askAdmin('/metrics')).body.toString().match(/^millpond_refused_total\{/gm)?.length).toBe(before)
})
