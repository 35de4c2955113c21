import { expect, test } from 'vitest'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import { startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'

const APP = 'team/app'
const layer = (size: string): string =>
  `{"schemaVersion":2,"layers":[{"mediaType":"x/y","digest":"sha256:${'a'.repeat(64)}","size":${size}}]}`

const CORPUS: readonly (readonly [string, Buffer])[] = [
  ['a byte order mark', Buffer.from('\uFEFF{"schemaVersion":2,"layers":[]}')],
  ['bad UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
  ['keys that come twice', Buffer.from('{"schemaVersion":2,"schemaVersion":2,"layers":[],"layers":[]}')],
  ['__proto__', Buffer.from('{"schemaVersion":2,"__proto__":{"layers":1},"constructor":{"prototype":1},"layers":[]}')],
  ['a size of 1e400', Buffer.from(layer('1e400'))],
  ['a size of 2^53 + 1', Buffer.from(layer('9007199254740993'))],
  ['a negative size', Buffer.from(layer('-1'))],
  ['deep nesting', Buffer.from(`{"schemaVersion":2,"x":${'['.repeat(500)}${']'.repeat(500)}}`)],
  ['no JSON', Buffer.from('hello')],
  ['an array', Buffer.from('[]')],
  ['null', Buffer.from('null')],
]

for (const [what, bytes] of CORPUS) {
  test(`fault 61: a manifest with ${what} goes out by digest as it came, cold, held and after a restart`, async () => {
    await using fake = await startUpstream()
    const digest = fake.addManifest(APP, bytes, MEDIA_TYPE.ociManifest)
    await using house = await startHouse(fake)

    for (const turn of ['cold', 'held', 'restarted']) {
      if (turn === 'restarted') {
        expect(fake.requestsOf(/^GET/)).toHaveLength(1)
        await house.restart() // what is unreadable was not indexed, so it may be asked for again
      }
      const got = await house.getManifest(APP, digest)
      expect([turn, got.status, got.headers['docker-content-digest']]).toEqual([turn, 200, digest])
      expect(got.headers['content-length']).toBe(String(bytes.length))
      expect(got.body).toEqual(bytes)
    }
  })
}

test('fault 70: a header named __proto__, or X-Forwarded-*, changes nothing', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage(APP, 'v1')
  await using house = await startHouse(fake, { upstreams: { 'registry.test': { push: true } } })
  const forwarded = { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https', 'x-forwarded-for': '10.0.0.1' }
  const headers = JSON.parse(JSON.stringify(forwarded).replace('{', '{"__proto__":"x","constructor":"y",'))

  const got = await house.getManifest(APP, 'v1', { headers })
  const begun = await house.ask(`/v2/${APP}/blobs/uploads/`, {
    method: 'POST',
    headers,
  })

  expect(got.headers['docker-content-digest']).toBe(image.digest)
  expect(begun.headers.location).toBe(`/v2/${APP}/blobs/uploads/1`)
})
