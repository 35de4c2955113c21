import { expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { seededBytes } from '../support/images.ts'
import { startUpstream } from '../support/upstream.ts'

test('the fake upstream serves an image by tag and digest, whole and by range, and counts', async () => {
  await using upstream = await startUpstream()
  const image = upstream.addImage('library/a', 'latest', { layers: 1, layerBytes: 200_000 })
  const layer = image.layers[0]?.digest ?? image.digest

  const byTag = await fetch(`${upstream.origin}/v2/library/a/manifests/latest`)
  const body = Buffer.from(await byTag.arrayBuffer())
  const range = await fetch(`${upstream.origin}/v2/library/a/blobs/${layer}`, { headers: { range: 'bytes=4-7' } })
  const part = Buffer.from(await range.arrayBuffer())

  expect(digestOf(body)).toBe(image.digest)
  expect(range.headers.get('content-range')).toBe('bytes 4-7/200000')
  expect(part).toEqual(image.bytesOf(layer).subarray(4, 8))
  expect(upstream.requests).toEqual([
    'GET /v2/library/a/manifests/latest',
    `GET /v2/library/a/blobs/${layer} bytes=4-7`,
  ])
  expect([upstream.bodyBytesSent, upstream.pullsCounted]).toEqual([4, 1])
})

for (const [name, act] of [
  ['a FIN', { cutAfter: 100_000 }],
  ['an RST', { resetAfter: 100_000 }],
  ['a length too large', { lengthBy: 10 }],
] as const) {
  test(`the fake upstream cuts a body by ${name}`, async () => {
    await using upstream = await startUpstream()
    const digest = upstream.addBlob(seededBytes(1, 300_000))
    upstream.behave({ match: /blobs/, times: 1, act })

    const first = fetch(`${upstream.origin}/v2/a/blobs/${digest}`).then((answer) => answer.arrayBuffer())

    await expect(first).rejects.toThrow()
    const second = await fetch(`${upstream.origin}/v2/a/blobs/${digest}`)
    expect(digestOf(Buffer.from(await second.arrayBuffer()))).toBe(digest)
  })
}

test('the fake upstream challenges, and its token opens what was asked for', async () => {
  await using upstream = await startUpstream({ auth: { kind: 'bearer', users: { bot: 'pw' } } })
  upstream.addImage('library/a', 'latest')

  const challenged = await fetch(`${upstream.origin}/v2/library/a/manifests/latest`)
  const [, realm] = /realm="([^"]+)"/.exec(challenged.headers.get('www-authenticate') ?? '') ?? []
  const told = await fetch(`${realm}?service=registry.test&scope=repository:library/a:pull`)
  const { token } = (await told.json()) as { token: string }
  const opened = await fetch(`${upstream.origin}/v2/library/a/manifests/latest`, {
    headers: { authorization: `Bearer ${token}` },
  })

  expect([challenged.status, opened.status]).toEqual([401, 200])
})

test('the fake upstream comes back on its port after an outage', async () => {
  await using upstream = await startUpstream()
  const { origin } = upstream
  await upstream.stop()
  await expect(fetch(`${origin}/v2/`)).rejects.toThrow()
  await upstream.start()
  expect((await fetch(`${origin}/v2/`)).status).toBe(200)
})
