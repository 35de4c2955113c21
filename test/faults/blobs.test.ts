import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { KIB, MIB } from '../../src/base/units.ts'
import { TAIL_BYTES } from '../../src/cache/fill.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { type House, startHouse } from '../support/house.ts'
import { seededBytes } from '../support/images.ts'
import { rawGet } from '../support/pull.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'

const SIZE = 4 * MIB + 321
const LAYER = seededBytes(21, SIZE)
const BLOBS = /GET .*\/blobs\//

/** An image with this one layer; the manifest is pulled, so that the layer's size is known. */
async function withLayer(house: House, upstreams: readonly FakeUpstream[], layer = LAYER): Promise<Digest> {
  let digest: Digest | undefined
  for (const upstream of upstreams) {
    digest = upstream.addBlob(layer)
    const config = upstream.addBlob(Buffer.from('{}'))
    const mediaType = 'application/vnd.oci.image.manifest.v1+json'
    const manifest = {
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: 2 },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: layer.length }],
    }
    upstream.addManifest('library/a', manifest, mediaType, 'v1')
  }
  await house.getManifest('library/a', 'v1')
  if (!digest) throw new Error('no upstream')
  return digest
}

test('fault 1: an upstream that cuts at every 512 KiB costs the client nothing, and upstream 1.01 × the bytes', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = await withLayer(house, [upstream])
  upstream.behave({ match: BLOBS, act: { cutAfter: 512 * KIB } })

  const { status, isWhole, body } = await house.getBlob('library/a', digest)

  expect(status).toBe(200)
  expect(isWhole && body.equals(LAYER)).toBe(true)
  expect(upstream.bodyBytesSent).toBeLessThanOrEqual(LAYER.length * 1.01)
})

test('fault 1: an upstream that resets at every 512 KiB, and so takes back what was on its way, costs the client nothing', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = await withLayer(house, [upstream])
  upstream.behave({ match: BLOBS, act: { resetAfter: 512 * KIB } })

  const { isWhole, body } = await house.getBlob('library/a', digest)

  expect(isWhole && body.equals(LAYER)).toBe(true)
})

test('fault 1: a stalled upstream is left for the next endpoint, from the byte where it stalled', async () => {
  await using first = await startUpstream()
  await using second = await startUpstream()
  await using house = await startHouse([first, second], {
    upstreams: { 'registry.test': { timeouts: { idle: '300ms' } } },
  })
  const digest = await withLayer(house, [first, second])
  first.behave({ match: BLOBS, act: { stallAfter: MIB } })

  const { isWhole, body } = await house.getBlob('library/a', digest)

  expect(isWhole && body.equals(LAYER)).toBe(true)
  expect(second.requests.filter((request) => BLOBS.test(request))).toEqual([expect.stringContaining('bytes=')])
})

test('fault 2: a body without a length whose end is taken for the blob’s is never whole, and never kept', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = upstream.addBlob(LAYER) // no manifest names it: its size is nowhere to be known
  upstream.behave({ match: BLOBS, act: { framing: 'close', cutAfter: MIB } })

  const { status } = await house.getBlob('library/a', digest)

  expect(status).toBe(502)
  await house.quiet()
  expect(house.server.disk.find(digest)).toBeUndefined()
})

test('fault 2: a chunked body that ends within a chunk was cut, and is resumed', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = upstream.addBlob(LAYER)
  upstream.behave({ match: BLOBS, times: 1, act: { framing: 'chunked', cutAfter: MIB } })

  const { isWhole, body } = await house.getBlob('library/a', digest)

  expect(isWhole && body.equals(LAYER)).toBe(true)
})

test('a blob of unknown size that comes whole is answered with its length', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = upstream.addBlob(LAYER)
  upstream.behave({ match: BLOBS, act: { framing: 'chunked' } })

  const { status, headers, body } = await house.getBlob('library/a', digest)

  expect(status).toBe(200)
  expect(headers['content-length']).toBe(String(SIZE))
  expect(body.equals(LAYER)).toBe(true)
})

for (const corruptAt of [0, SIZE >> 1, SIZE - 1]) {
  test(`fault 4: a bit flipped at ${corruptAt} is never delivered whole nor kept; another endpoint is asked next`, async () => {
    await using liar = await startUpstream()
    await using honest = await startUpstream()
    await using house = await startHouse([liar, honest])
    const digest = await withLayer(house, [liar, honest])
    liar.behave({ match: BLOBS, act: { corruptAt } })

    const first = await house.getBlob('library/a', digest)
    await house.quiet()
    const later = await house.getBlob('library/a', digest)

    expect(first.isWhole).toBe(false)
    expect(first.body.length).toBeLessThanOrEqual(SIZE - TAIL_BYTES)
    expect(later.isWhole && later.body.equals(LAYER)).toBe(true)
    expect(await readdir(join(house.folder, 'quarantine'))).toHaveLength(1)
  })
}

test('fault 4: while the last byte is missing a whole body lacks its tail, though a range of that is there', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = await withLayer(house, [upstream])
  upstream.behave({ match: BLOBS, act: { stallAfter: SIZE - 1 } })

  const whole = await rawGet(house, `/v2/library/a/blobs/${digest}`)
  await whole.until(SIZE - TAIL_BYTES)
  const range = await house.getBlob('library/a', digest, { headers: { range: `bytes=${SIZE - 100}-${SIZE - 2}` } })
  whole.socket.destroy()

  expect(range.body.equals(LAYER.subarray(SIZE - 100, SIZE - 1))).toBe(true)
  expect(whole.body.length).toBeLessThanOrEqual(SIZE - TAIL_BYTES)
})

test('fault 4: a corrupt blob within the tail is asked of the next endpoint before a byte is answered', async () => {
  await using liar = await startUpstream()
  await using honest = await startUpstream()
  await using house = await startHouse([liar, honest])
  const small = seededBytes(1, 30 * KIB)
  const digest = await withLayer(house, [liar, honest], small)
  liar.behave({ match: BLOBS, act: { corruptAt: 9 } })

  const { status, isWhole, body } = await house.getBlob('library/a', digest)

  expect(status).toBe(200)
  expect(isWhole && body.equals(small)).toBe(true)
})

for (const [what, act] of [
  ['204', { status: 204, body: '' }],
  ['a login page', { body: '<html>please sign in</html>', headers: { 'content-type': 'text/html' } }],
  ['nothing', { body: '' }],
] as const) {
  for (const isNamed of [true, false]) {
    test(`fault 5: ${what} for a blob is an error and not kept, its size known: ${isNamed}`, async () => {
      await using upstream = await startUpstream()
      await using house = await startHouse(upstream)
      const digest = isNamed ? await withLayer(house, [upstream]) : upstream.addBlob(LAYER)
      upstream.behave({ match: BLOBS, act })

      const { status, headers } = await house.getBlob('library/a', digest)

      expect(status).toBe(502)
      expect(headers['content-type']).toBe('application/json')
      expect(house.server.disk.find(digest)).toBeUndefined()
    })
  }
}

for (const range of ['ignore', 'shifted', 'multipart', 'unsatisfiable'] as const) {
  test(`fault 6: an upstream whose ranges are wrong (${range}) is asked for all, and brings a cut blob whole`, async () => {
    await using upstream = await startUpstream()
    await using house = await startHouse(upstream)
    const digest = await withLayer(house, [upstream])
    upstream.behave({ match: /blobs.* bytes=/, act: { range } })
    upstream.behave({ match: BLOBS, times: 1, act: { cutAfter: MIB } })

    const { isWhole, body } = await house.getBlob('library/a', digest)

    expect(isWhole && body.equals(LAYER)).toBe(true)
  })
}

test('fault 6: a range that tells another total is a lie: the source is dropped, and nothing wrong leaves', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = await withLayer(house, [upstream])
  upstream.behave({ match: /blobs.* bytes=/, act: { range: 'otherTotal' } })
  upstream.behave({ match: BLOBS, times: 1, act: { cutAfter: MIB } })

  const { isWhole, body } = await house.getBlob('library/a', digest)

  expect(isWhole).toBe(false)
  expect(body.equals(LAYER.subarray(0, body.length))).toBe(true)
})

test('fault 20: clients who leave at any byte leave no descriptor and no reader behind, and the fill goes on', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = await withLayer(house, [upstream])
  upstream.behave({ match: BLOBS, act: { bytesPerSecond: 16 * MIB } })

  for (let at = 64 * KIB; at < SIZE; at += 512 * KIB) {
    const client = await rawGet(house, `/v2/library/a/blobs/${digest}`)
    await client.until(at)
    client.socket.destroy()
  }
  await house.quiet()
  const { body } = await house.getBlob('library/a', digest)

  expect(body.equals(LAYER)).toBe(true)
  expect(upstream.bodyBytesSent).toBe(SIZE)
})

test('fault 22: clients that reset while they are written to are forgotten', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = await withLayer(house, [upstream])
  await house.getBlob('library/a', digest)

  for (let turn = 0; turn < 20; turn++) {
    const client = await rawGet(house, `/v2/library/a/blobs/${digest}`)
    await client.until(1000)
    client.socket.resetAndDestroy()
  }

  await vi.waitFor(() => expect(house.access.filter((line) => line.includes('left'))).toHaveLength(20))
})

test('fault 23: a fill that no source completes cuts the connection, short of its length', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = await withLayer(house, [upstream])
  upstream.behave({ match: BLOBS, times: 1, act: { cutAfter: 2 * MIB } })
  upstream.behave({ match: /blobs.* bytes=/, act: { status: 404, body: '{}' } })

  const client = await rawGet(house, `/v2/library/a/blobs/${digest}`)
  await client.ended

  expect(client.body.equals(LAYER.subarray(0, client.body.length))).toBe(true)
  expect(client.body.length).toBeLessThan(SIZE)
})

test('fault 44: an error is not handed to who comes later: the key is free at once', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = await withLayer(house, [upstream])
  upstream.behave({ match: BLOBS, times: 2, act: { status: 500 } })

  const together = await Promise.all([1, 2, 3].map(() => house.getBlob('library/a', digest)))
  const later = await house.getBlob('library/a', digest)

  expect(together.map(({ status }) => status)).toEqual([502, 502, 502])
  expect(later.status).toBe(200)
})

test('fault 46: five hundred clients of a blob that is not there cost one upstream request', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = `sha256:${'0'.repeat(64)}`

  const answers = await Promise.all(Array.from({ length: 500 }, () => house.getBlob('library/a', digest)))

  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([404]))
  expect(upstream.requests.filter((request) => BLOBS.test(request))).toHaveLength(1)
})

test('fault 48: clients at every pace, on one blob, get its bytes', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = await withLayer(house, [upstream])

  const slow = await Promise.all(Array.from({ length: 4 }, () => rawGet(house, `/v2/library/a/blobs/${digest}`)))
  for (const client of slow) client.socket.pause()
  const fast = await Promise.all(Array.from({ length: 8 }, () => house.getBlob('library/a', digest)))
  for (const client of slow) client.socket.resume()
  for (const client of slow) await client.until(SIZE + 500)

  expect(fast.every(({ body }) => body.equals(LAYER))).toBe(true)
  await vi.waitFor(() => expect(slow.every(({ body }) => body.equals(LAYER))).toBe(true))
  for (const client of slow) client.socket.destroy()
})

test('fault 35: a pull that a stop interrupted does not hold up another image, and is resumed', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const large = seededBytes(4, 24 * MIB)
  const digest = await withLayer(house, [upstream], large)
  upstream.behave({ match: BLOBS, times: 1, act: { stallAfter: 12 * MIB } })
  const client = await rawGet(house, `/v2/library/a/blobs/${digest}`)
  await client.until(11 * MIB)
  client.socket.destroy()
  await house.restart()

  const other = upstream.addImage('library/b', 'v1', { layers: 1, layerBytes: MIB })
  const pulled = await house.getBlob('library/b', other.layers[0]?.digest ?? '')
  const sent = upstream.bodyBytesSent
  const resumed = await house.getBlob('library/a', digest)

  expect(pulled.status).toBe(200)
  expect(resumed.body.equals(large)).toBe(true)
  expect(upstream.bodyBytesSent - sent).toBeLessThanOrEqual(13 * MIB)
})

test('a small blob tells of its first fetch, and after that of the hit', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const digest = await withLayer(house, [upstream], seededBytes(2, 30 * KIB))

  const cold = await house.getBlob('library/a', digest)
  const warm = await house.getBlob('library/a', digest)

  expect(cold.headers['cache-status']).toBe('millpond; fwd=uri-miss; fwd-status=200; stored')
  expect(warm.headers['cache-status']).toBe('millpond; hit')
})

test('fault 64: the urls of a foreign layer are never followed', async () => {
  await using thief = await startUpstream()
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const config = upstream.addBlob(Buffer.from('{}'))
  const digest = `sha256:${'1'.repeat(64)}`
  const layer = { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', digest, size: 10 }
  upstream.addManifest(
    'library/a',
    {
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: 2 },
      layers: [{ ...layer, urls: [`${thief.origin}/layer`] }],
    },
    mediaType,
    'v1',
  )

  const manifest = await house.getManifest('library/a', 'v1')
  const blob = await house.getBlob('library/a', digest)

  expect(manifest.status).toBe(200)
  expect(blob.status).toBe(404)
  expect(thief.requests).toEqual([])
})
