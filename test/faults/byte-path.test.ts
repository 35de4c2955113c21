import { readdir, readlink } from 'node:fs/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { KIB, MIB } from '../../src/base/units.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import { open } from '../support/ask.ts'
import { type House, startHouse } from '../support/house.ts'
import { configBytes, describe, imageBytes, seededBytes } from '../support/images.ts'
import { rawGet } from '../support/pull.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'
import { hurried } from '../upstream/support.ts'

const BLOBS = /GET .*\/blobs\//

/** An image of one layer in a repository of upstream's, which says of it that it has `size` bytes. */
function addLayer(upstream: FakeUpstream, repository: string, layer: Buffer, size = layer.length) {
  const config = configBytes(1)
  upstream.addBlob(config)
  const digest = upstream.addBlob(layer)
  const described = { ...describe(layer, MEDIA_TYPE.octets), size }
  const manifest = imageBytes(describe(config, 'application/vnd.oci.image.config.v1+json'), [described])
  upstream.addManifest(repository, JSON.parse(manifest.toString()), MEDIA_TYPE.ociManifest, 'v1')
  return digest
}

/** Descriptors of this process that lead into the folder of a house. */
async function openFilesOf(house: House): Promise<string[]> {
  const names = await readdir('/proc/self/fd')
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')))
  return targets.filter((target) => target.startsWith(house.folder) && /blobs\/sha256\/|spools\//.test(target))
}

function watchUnowned(): unknown[] {
  const unowned: unknown[] = []
  const note = (reason: unknown) => void unowned.push(reason)
  process.on('unhandledRejection', note)
  onTestFinished(() => void process.off('unhandledRejection', note))
  return unowned
}

test('fault 30: whole bodies and ranges of a blob larger than the cap, all at once, each get what they asked for', async () => {
  const unowned = watchUnowned()
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream, { cap: '4MiB' })
  const layer = seededBytes(51, 24 * MIB + 7)
  const digest = addLayer(upstream, 'library/a', layer)
  await house.getManifest('library/a', 'v1')
  const asked = [
    undefined,
    '0-',
    `${9 * MIB}-`,
    '-1000',
    ...[0, 1, 2, 3].map((at) => `${at * 6 * MIB}-${(at + 1) * 6 * MIB - 1}`),
    undefined,
  ]

  const got = await Promise.all(
    asked.map((range) => house.getBlob('library/a', digest, range ? { headers: { range: `bytes=${range}` } } : {})),
  )

  for (const [at, { status, isWhole, body }] of got.entries()) {
    const [start = '', last = ''] = (asked[at] ?? '0-').split('-')
    const from = start === '' ? layer.length - Number(last) : Number(start)
    const right = layer.subarray(from, start === '' || last === '' ? layer.length : Number(last) + 1)
    expect(status, asked[at]).toBe(asked[at] === undefined ? 200 : 206)
    expect(isWhole && body.equals(right), asked[at]).toBe(true)
  }
  await house.quiet()
  expect(await openFilesOf(house)).toEqual([])
  expect(unowned).toEqual([])
})

test('a manifest that names another size for a digest spoils no pull of the same digest elsewhere', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const layer = seededBytes(52, 2 * MIB)
  const digest = addLayer(upstream, 'library/a', layer)
  addLayer(upstream, 'hostile/a', layer, 1000)
  await house.getManifest('library/a', 'v1')
  await house.getManifest('hostile/a', 'v1')
  // and tells no size
  upstream.behave({ match: /hostile.*blobs/, act: { framing: 'chunked', bytesPerSecond: 4 * MIB } })

  const hostile = house.getBlob('hostile/a', digest)
  await vi.waitFor(() => expect(upstream.requestsOf(/GET .*hostile.*blobs/)).toHaveLength(1), { interval: 1 })
  const { status, isWhole, body } = await house.getBlob('library/a', digest)

  expect(status).toBe(200)
  expect(isWhole && body.equals(layer)).toBe(true)
  await hostile
})

test('a manifest that names an immense size evicts nothing: the source is asked first', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream, { cap: '16MiB' })
  const held = seededBytes(53, 2 * MIB)
  const digest = addLayer(upstream, 'library/a', held)
  await house.getManifest('library/a', 'v1')
  await house.getBlob('library/a', digest)
  const hostile = addLayer(upstream, 'hostile/a', seededBytes(54, 100 * KIB), 16 * MIB - 1)
  await house.getManifest('hostile/a', 'v1')

  const { status } = await house.getBlob('hostile/a', hostile)

  expect(status).toBe(502)
  expect(house.server.disk.find(digest)).toBeDefined()
})

test('fault 20: a storm of clients who leave at any byte leaves no descriptor, no reader and no rejection behind', async () => {
  const unowned = watchUnowned()
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const layer = seededBytes(55, 12 * MIB)
  const digest = addLayer(upstream, 'library/a', layer)
  await house.getManifest('library/a', 'v1')
  upstream.behave({ match: BLOBS, act: { bytesPerSecond: 24 * MIB, dripBytes: 256 * KIB } })
  const path = `/v2/library/a/blobs/${digest}`

  await Promise.all(
    Array.from({ length: 120 }, async (_, nth) => {
      const headers =
        nth % 3 === 0 ? ['Connection: close'] : ['Connection: close', `Range: bytes=${(nth * 97_003) % layer.length}-`]
      const client = await rawGet(house, path, headers)
      await client.until((nth * 40_961) % (4 * MIB))
      if (nth % 2) client.socket.resetAndDestroy()
      else client.socket.destroy()
    }),
  )
  await house.quiet()

  expect((await house.getBlob('library/a', digest)).body.equals(layer)).toBe(true)
  await vi.waitFor(async () => expect(await openFilesOf(house)).toEqual([]))
  expect(upstream.bodyBytesSent).toBeLessThanOrEqual(layer.length * 1.3) // streams were taken over under way
  expect(unowned).toEqual([])
})

test('fault 84: a stop with downloads and fills under way ends them whole, and leaves nothing open', async () => {
  const unowned = watchUnowned()
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const layers = [56, 57, 58].map((seed) => seededBytes(seed, 3 * MIB))
  const digests = layers.map((layer) => addLayer(upstream, 'library/a', layer))
  upstream.behave({ match: BLOBS, act: { bytesPerSecond: 4 * MIB, dripBytes: 128 * KIB } })
  const [left = '', ...read] = digests
  const leaver = await rawGet(house, `/v2/library/a/blobs/${left}`)
  await leaver.until(100 * KIB)
  const pulls = read.map((digest) => house.getBlob('library/a', digest))
  await vi.waitFor(() => expect(upstream.requestsOf(BLOBS)).toHaveLength(3), { interval: 1 })
  leaver.socket.destroy()

  await house.stop()

  for (const [at, { isWhole, body }] of (await Promise.all(pulls)).entries()) {
    expect(isWhole && body.equals(layers[at + 1] ?? Buffer.alloc(0))).toBe(true)
  }
  expect(await openFilesOf(house)).toEqual([])
  expect(unowned).toEqual([])
})

test('fault 9: a blob that waits in line for a connection is answered by a HEAD meanwhile, and its body follows', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream, { outside: hurried(10) })
  const layers = Array.from({ length: 25 }, (_, seed) => seededBytes(seed + 300, MIB))
  const digests = layers.map((layer, at) => addLayer(upstream, `library/a${at}`, layer))
  for (const at of layers.keys()) await house.getManifest(`library/a${at}`, 'v1')
  upstream.behave({ match: BLOBS, times: 24, act: { bytesPerSecond: 500 * KIB } })
  let ended = 0

  const inFront = digests
    .slice(0, 24)
    .map((digest, at) => house.getBlob(`library/a${at}`, digest).finally(() => ended++))
  await vi.waitFor(() => expect(upstream.requests.filter((request) => BLOBS.test(request))).toHaveLength(24))
  const last = await open(`${house.origin}/v2/library/a24/blobs/${digests[24]}`)
  const endedBefore = ended
  const pieces: Buffer[] = []
  for await (const piece of last) pieces.push(piece)

  expect(last.statusCode).toBe(200)
  expect(endedBefore).toBe(0)
  expect(layers[24] && Buffer.concat(pieces).equals(layers[24])).toBe(true)
  for (const [at, { body }] of (await Promise.all(inFront)).entries())
    expect(body.equals(layers[at] ?? body)).toBe(true)
})
