import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Digest } from '../../src/oci/digest.ts'
import { startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'

/** Each route, by each way in which a client may name the repository. */
function requestsFor(path: string, manifest: Digest, blob: Digest) {
  const tails = [
    ...['manifests/v1', `manifests/${manifest}`, `blobs/${blob}`, 'tags/list', `referrers/${manifest}`],
    ...['blobs/uploads/', 'blobs/uploads/1'],
  ]
  return tails.flatMap((tail) => [
    `/v2/${path}/${tail}`,
    `/v2/registry.test/${path}/${tail}`,
    `/registry.test/v2/${path}/${tail}`,
    `/v2/${path}/${tail}?ns=registry.test`,
    `/v2/registry.test/v2/${path}/${tail}?ns=registry.test`,
  ])
}

for (const [rule, why] of [
  [{ deny: ['team/**'] }, 'denied'],
  [{ allow: ['open/**'] }, 'not allowed'],
  [{ allow: ['team/**'], deny: ['*/app'] }, 'denied though allowed'],
] as const) {
  test(`what is held is shown by no route and no name once its repository is ${why}, and nobody is dialled`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millpond-allowed-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    await using fake = await startUpstream()
    const image = fake.addImage('team/app', 'v1', { layers: 1 })
    const [layer = image.config] = image.layers
    const paths = requestsFor('team/app', image.digest, layer.digest)
    const before = await startHouse(fake, { folder })
    const allowed = [await before.getManifest('team/app', 'v1'), await before.getBlob('team/app', layer.digest)]
    await before[Symbol.asyncDispose]()
    const dialled = fake.requests.length
    await using house = await startHouse(fake, { folder, upstreams: { 'registry.test': rule } })

    const answers = await Promise.all(
      paths.flatMap((path) => ['GET', 'HEAD', 'PUT'].map((method) => house.ask(path, { method }))),
    )

    expect(allowed.map(({ status }) => status)).toEqual([200, 200])
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([404]))
    expect(answers.filter(({ body }) => body.length > 0).every(({ body }) => body.includes('NAME_UNKNOWN'))).toBe(true)
    expect(fake.requests.length).toBe(dialled)
  })
}
