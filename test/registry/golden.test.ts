import { expect, test } from 'vitest'
import { OciError, type Reason } from '../../src/base/errors.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import type { Listings } from '../../src/registry/listings.ts'
import { Shelf, startFront } from './support.ts'

/* The table "Golden answers" of the contracts: what a client sees, to the status and the header. */

const manifest = Buffer.from('{"schemaVersion": 2,\n "config": {}}\n')
const digest = digestOf(manifest)
const hex = 'c'.repeat(64)

function shelfWith(mediaType: string = MEDIA_TYPE.ociManifest): Shelf {
  const shelf = new Shelf()
  shelf.put('docker.io/library/alpine', '3', mediaType, manifest)
  return shelf
}

async function errorOf(response: Response): Promise<string> {
  const { errors } = (await response.json()) as { errors: { code: string }[] }
  return errors.map(({ code }) => code).join()
}

for (const path of ['/v2/', '/v2', '/docker.io/v2/']) {
  test(`GET and HEAD ${path}: 200 {}, without a challenge`, async () => {
    await using house = await startFront()

    const got = await fetch(house.url + path)
    const head = await fetch(house.url + path, { method: 'HEAD' })

    expect([got.status, await got.text()]).toEqual([200, '{}'])
    expect([head.status, await head.text()]).toEqual([200, ''])
    for (const { headers } of [got, head]) {
      expect(headers.get('content-type')).toBe('application/json')
      expect(headers.get('content-length')).toBe('2')
      expect(headers.get('docker-distribution-api-version')).toBe('registry/2.0')
      expect(headers.get('www-authenticate')).toBeNull()
      expect(headers.get('x-registry-supports-signatures')).toBeNull()
    }
  })
}

for (const reference of ['3', digest]) {
  for (const isInMemory of [true, false]) {
    test(`a manifest by ${reference.slice(0, 6)}, in memory ${isInMemory}: exact bytes and type`, async () => {
      const shelf = shelfWith()
      shelf.isInMemory = isInMemory
      await using house = await startFront({ shelf })
      const url = `${house.url}/v2/alpine/manifests/${reference}`

      const got = await fetch(url, { headers: { accept: 'text/html' } })
      const head = await fetch(url, { method: 'HEAD' })

      expect(Buffer.from(await got.arrayBuffer())).toEqual(manifest)
      expect(await head.text()).toBe('')
      for (const { status, headers } of [got, head]) {
        expect(status).toBe(200)
        expect(headers.get('content-type')).toBe(MEDIA_TYPE.ociManifest)
        expect(headers.get('content-length')).toBe(String(manifest.length))
        expect(headers.get('docker-content-digest')).toBe(digest)
        expect(headers.get('etag')).toBe(`"${digest}"`)
        expect(headers.get('content-encoding')).toBeNull()
        expect(headers.get('oci-namespace')).toBeNull()
      }
      expect(shelf.asked.at(-1)).toBe(isInMemory ? undefined : `HEAD ${keyOf(reference)}`)
    })
  }
}

const keyOf = (reference: string): string =>
  `docker.io/library/alpine${reference.includes(':') ? '@' : ':'}${reference}`

test('Cache-Status tells a hit, a fresh tag and a miss', async () => {
  const shelf = shelfWith()
  await using house = await startFront({ shelf })
  const statusOf = async (reference: string): Promise<string | null> =>
    (await fetch(`${house.url}/v2/alpine/manifests/${reference}`)).headers.get('cache-status')

  expect(await statusOf(digest)).toBe('millpond; hit')
  expect(await statusOf('3')).toBe('millpond; hit; ttl=60')
  shelf.isInMemory = false
  expect(await statusOf('3')).toBe('millpond; fwd=uri-miss; fwd-status=200; stored')
  expect(house.done.map(({ outcome }) => outcome)).toEqual(['hit', 'hit', 'miss'])
})

test('the ns that came is echoed, with an error too', async () => {
  await using house = await startFront({ shelf: shelfWith() })

  const found = await fetch(`${house.url}/v2/library/alpine/manifests/3?ns=docker.io`)
  const absent = await fetch(`${house.url}/v2/library/none/manifests/3?ns=docker.io`)
  const unknown = await fetch(`${house.url}/v2/library/alpine/manifests/3?ns=stranger.example`)
  const hostile = await fetch(`${house.url}/v2/library/alpine/manifests/3?ns=%0d%0aX-Bad:%201`)

  expect([found.status, found.headers.get('oci-namespace')]).toEqual([200, 'docker.io'])
  expect([absent.status, absent.headers.get('oci-namespace')]).toEqual([404, 'docker.io'])
  expect([unknown.status, unknown.headers.get('oci-namespace')]).toEqual([404, 'stranger.example'])
  expect([hostile.status, hostile.headers.get('oci-namespace')]).toEqual([400, null])
  expect(hostile.headers.get('x-bad')).toBeNull()
})

test('fault 83: an unknown host is 404 NAME_UNKNOWN, and nobody is asked', async () => {
  const shelf = new Shelf()
  await using house = await startFront({ shelf })

  for (const path of [
    '/v2/a/manifests/1?ns=169.254.169.254',
    '/v2/stranger.example/a/manifests/1',
    '/stranger.example/v2/a/manifests/1',
    '/v2/a/tags/list?ns=127.0.0.1:5000',
  ]) {
    const response = await fetch(house.url + path)
    expect([response.status, await errorOf(response)]).toEqual([404, 'NAME_UNKNOWN'])
  }
  expect(shelf.asked).toEqual([])
})

for (const [path, status, code] of [
  ['/v2/UPPER/manifests/1', 400, 'NAME_INVALID'],
  ['/v2/a%2F..%2Fb/manifests/1', 400, 'NAME_INVALID'],
  ['/v2/alpine/manifests/.INVALID_MANIFEST_NAME', 404, 'MANIFEST_UNKNOWN'],
  ['/v2/alpine/manifests/sha256:totallywrong', 400, 'DIGEST_INVALID'],
  [`/v2/alpine/blobs/md5:${'a'.repeat(32)}`, 400, 'DIGEST_INVALID'],
  ['/v2/alpine/referrers/sha256:short', 400, 'DIGEST_INVALID'],
  ['/v2/_catalog', 404, 'UNSUPPORTED'],
  ['/v2/alpine/blobs/uploads/', 404, 'UNSUPPORTED'],
  ['/somewhere', 404, 'UNSUPPORTED'],
  ['/v2/alpine/tags/list?n=many', 400, 'UNSUPPORTED'],
  [`/v2/alpine/tags/list?last=${'x'.repeat(2000)}`, 400, 'UNSUPPORTED'],
] as const) {
  test(`${path.slice(0, 60)} is ${status} ${code}, to GET and HEAD alike`, async () => {
    await using house = await startFront()

    const got = await fetch(house.url + path)
    const head = await fetch(house.url + path, { method: 'HEAD' })

    expect([got.status, head.status, await head.text()]).toEqual([status, status, ''])
    expect(head.headers.get('content-length')).toBe(got.headers.get('content-length'))
    expect(got.headers.get('content-type')).toBe('application/json')
    expect(got.headers.get('docker-distribution-api-version')).toBe('registry/2.0')
    expect(got.headers.get('cache-status')).toMatch(/^millpond/)
    expect(await errorOf(got)).toBe(code)
    expect(house.done[0]).toMatchObject({ status, outcome: 'refused' })
  })
}

for (const [reason, status, code, outcome] of [
  ['manifestUnknown', 404, 'MANIFEST_UNKNOWN', 'refused'],
  ['manifestInvalid', 400, 'MANIFEST_INVALID', 'refused'],
  ['denied', 403, 'DENIED', 'refused'],
  ['accountSpent', 429, 'TOOMANYREQUESTS', 'refused'],
  ['upstreamFailed', 502, 'UNAVAILABLE', 'failed'],
  ['upstreamResting', 503, 'UNAVAILABLE', 'failed'],
  ['upstreamSlow', 504, 'UNAVAILABLE', 'failed'],
  ['internal', 500, 'UNKNOWN', 'failed'],
] as const satisfies readonly (readonly [Reason, number, string, string])[]) {
  test(`when the cache says ${reason}, the client is told ${status} ${code} and never challenged`, async () => {
    const shelf = new Shelf()
    shelf.failure = new OciError(reason, 'because', { cause: new Error('secret of the house'), retryAfterMs: 90_000 })
    await using house = await startFront({ shelf })

    const response = await fetch(`${house.url}/v2/alpine/manifests/3`)
    const body = await response.clone().text()

    expect([response.status, await errorOf(response)]).toEqual([status, code])
    expect(response.headers.get('www-authenticate')).toBeNull()
    expect(response.headers.get('retry-after')).toBe(status === 429 || status === 503 ? '5' : null)
    expect(body).not.toContain('secret')
    expect(house.done[0]).toMatchObject({ status, outcome, route: 'manifest', upstream: 'docker.io' })
  })
}

test('fault 41: what nobody foresaw is 500 UNKNOWN, told to the log; the next request is answered', async () => {
  const shelf = shelfWith()
  shelf.failure = new TypeError('x is not a function')
  await using house = await startFront({ shelf })

  const failed = await fetch(`${house.url}/v2/alpine/manifests/3`)
  shelf.failure = undefined
  const next = await fetch(`${house.url}/v2/alpine/manifests/3`)

  expect([failed.status, await errorOf(failed), next.status]).toEqual([500, 'UNKNOWN', 200])
  expect(house.told).toMatchObject([{ error: { cause: { message: 'x is not a function' } } }])
})

test('an equal ETag is 304, only then, and only to If-None-Match', async () => {
  await using house = await startFront({ shelf: shelfWith() })
  const askWith = async (headers: Record<string, string>) =>
    await fetch(`${house.url}/v2/alpine/manifests/3`, { headers })

  const equal = await askWith({ 'if-none-match': `"${digest}"` })
  const other = await askWith({ 'if-none-match': '"other"' })
  const since = await askWith({ 'if-modified-since': 'Wed, 21 Oct 2037 07:28:00 GMT' })

  expect([equal.status, equal.headers.get('etag'), await equal.text()]).toEqual([304, `"${digest}"`, ''])
  expect([other.status, since.status]).toEqual([200, 200])
})

const child = Buffer.from('{"schemaVersion":2}')
const list = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.dockerList,
    manifests: [
      { digest: `sha256:${hex}`, size: 3, platform: { os: 'linux', architecture: 'arm64' } },
      { digest: digestOf(child), size: child.length, platform: { os: 'linux', architecture: 'amd64' } },
    ],
  }),
)

for (const [mediaType, reference, accept, wantsChild, why] of [
  [MEDIA_TYPE.dockerList, 'old', MEDIA_TYPE.dockerManifest, true, 'the one exception'],
  [
    MEDIA_TYPE.dockerList,
    'old',
    `${MEDIA_TYPE.dockerSchema1Signed}, ${MEDIA_TYPE.dockerManifest};q=0.9`,
    true,
    'old docker',
  ],
  [MEDIA_TYPE.dockerList, 'old', `${MEDIA_TYPE.dockerManifest}, ${MEDIA_TYPE.dockerList}`, false, 'it reads lists'],
  [MEDIA_TYPE.dockerList, 'old', `${MEDIA_TYPE.dockerManifest}, */*`, false, 'it takes anything'],
  [MEDIA_TYPE.dockerList, 'old', '', false, 'it says nothing'],
  [MEDIA_TYPE.dockerList, digestOf(list), MEDIA_TYPE.dockerManifest, false, 'a digest is a digest'],
  [MEDIA_TYPE.ociIndex, 'old', MEDIA_TYPE.dockerManifest, false, 'an OCI index is none'],
] as const) {
  for (const isInMemory of [true, false]) {
    test(`fault 65: ${mediaType} to Accept "${accept}": ${why} (in memory: ${isInMemory})`, async () => {
      const shelf = new Shelf()
      shelf.put('docker.io/library/a', 'old', mediaType, list)
      shelf.put('docker.io/library/a', undefined, MEDIA_TYPE.dockerManifest, child)
      shelf.isInMemory = isInMemory
      await using house = await startFront({ shelf })
      const url = `${house.url}/v2/a/manifests/${reference}`

      const got = await fetch(url, { headers: { accept } })
      const head = await fetch(url, { headers: { accept }, method: 'HEAD' })

      const wanted = wantsChild ? child : list
      expect(Buffer.from(await got.arrayBuffer())).toEqual(wanted)
      for (const { headers } of [got, head]) {
        expect(headers.get('docker-content-digest')).toBe(digestOf(wanted))
        expect(headers.get('content-type')).toBe(wantsChild ? MEDIA_TYPE.dockerManifest : mediaType)
        expect(headers.get('content-length')).toBe(String(wanted.length))
      }
    })
  }
}

/** Listings that keep what they were asked. */
function listingsOf(found: Partial<Awaited<ReturnType<Listings['tags']>>>) {
  const asked: unknown[] = []
  const bytes = Buffer.from('{"name":"x","tags":["b","a"]}')
  const answered = { bytes, contentType: 'application/json', facts: { hit: false, fwd: 'uri-miss' as const }, ...found }
  const listings: Listings = {
    tags: async ({ host, path }, query) => {
      asked.push([host, path, query])
      return answered
    },
    referrers: async ({ host, path }, subject, query) => {
      asked.push([host, path, subject, query])
      return answered
    },
  }
  return { listings, asked, bytes }
}

test("a page of tags keeps upstream's order; its Link leads back by the client's own path and ns", async () => {
  const { listings, asked, bytes } = listingsOf({ link: new URLSearchParams({ n: '2', last: 'a&b' }) })
  await using house = await startFront({ listings })
  const linkFrom = async (path: string): Promise<string | null> => (await fetch(house.url + path)).headers.get('link')

  const got = await fetch(`${house.url}/v2/alpine/tags/list?n=2&last=z`)

  expect([got.status, await got.text()]).toEqual([200, bytes.toString()])
  expect(got.headers.get('content-type')).toBe('application/json')
  expect(asked).toEqual([['docker.io', 'library/alpine', { n: 2, last: 'z' }]])
  expect(got.headers.get('link')).toBe('</v2/alpine/tags/list?n=2&last=a%26b>; rel="next"')
  expect(await linkFrom('/ghcr.io/v2/x/tags/list')).toBe('</ghcr.io/v2/x/tags/list?n=2&last=a%26b>; rel="next"')
  expect(await linkFrom('/v2/ghcr.io/x/tags/list?ns=ghcr.io')).toBe(
    '</v2/ghcr.io/x/tags/list?n=2&last=a%26b&ns=ghcr.io>; rel="next"',
  )
})

test('fault 69: a page has 1,000 tags at most; one of none is empty and has no next', async () => {
  const { listings, asked } = listingsOf({ link: new URLSearchParams({ last: 'a' }) })
  await using house = await startFront({ listings })

  await fetch(`${house.url}/v2/a/b/tags/list?n=1000000000`)
  const none = await fetch(`${house.url}/v2/a/b/tags/list?n=0`)

  expect(asked.map((each) => (each as unknown[])[2])).toEqual([{ n: 1000 }, { n: 1 }])
  expect([await none.json(), none.headers.get('link')]).toEqual([{ name: 'a/b', tags: [] }, null])
})

test("referrers go out with the index's exact type and the filter that was applied", async () => {
  const { listings, asked } = listingsOf({ contentType: MEDIA_TYPE.ociIndex, filters: 'artifactType' })
  await using house = await startFront({ listings })

  const got = await fetch(`${house.url}/v2/ghcr.io/a/referrers/${digest}?artifactType=application/x`)

  expect(got.status).toBe(200)
  expect(got.headers.get('content-type')).toBe(MEDIA_TYPE.ociIndex)
  expect(got.headers.get('oci-filters-applied')).toBe('artifactType')
  expect(asked).toEqual([['ghcr.io', 'a', digest, { artifactType: 'application/x' }]])
})

for (const [method, path] of [
  ['PUT', '/v2/alpine/manifests/3'],
  ['POST', '/v2/alpine/blobs/uploads/'],
  ['PATCH', '/v2/alpine/blobs/uploads/1'],
  ['DELETE', `/v2/alpine/blobs/sha256:${hex}`],
  ['POST', '/v2/'],
  ['OPTIONS', '/v2/alpine/manifests/3'],
] as const) {
  test(`${method} ${path.slice(0, 30)} is 405 UNSUPPORTED where writes are not passed on`, async () => {
    await using house = await startFront()
    const body = method === 'OPTIONS' ? {} : { body: Buffer.alloc(1000) }

    const response = await fetch(house.url + path, { method, ...body })

    expect([response.status, await errorOf(response)]).toEqual([405, 'UNSUPPORTED'])
    expect(response.headers.get('allow')).toBe('GET, HEAD')
    expect(house.done[0]).toMatchObject({ status: 405, outcome: 'refused' })
  })
}
