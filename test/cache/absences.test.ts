import { expect, onTestFinished, test } from 'vitest'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import { startUpstream } from '../support/upstream.ts'
import { NEVER, ofTag, startHouse } from './house.ts'

const STALE_IF_ERROR_MS = 3_600_000

async function given() {
  const upstream = await startUpstream()
  const house = await startHouse(upstream, { tags: [{ fresh: '60s', stale: '30s', staleIfError: '1h' }] })
  onTestFinished(async () => {
    await house[Symbol.asyncDispose]()
    await upstream.stop()
    await house.end()
  })
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  return { upstream, house, app: house.repository('team/app'), signature: image.digest.replace(':', '-') }
}

const caught = (work: Promise<unknown>) => work.catch((error: unknown) => error)

for (const suffix of ['', '.sig', '.att']) {
  test(`what upstream said is not there, a signature's tag '${suffix}', is not there in an outage either`, async () => {
    const { upstream, house, app, signature } = await given()
    const asked = ofTag(`${signature}${suffix}`)
    await house.manifests.get(app, ofTag('v1'), NEVER)
    await caught(house.manifests.get(app, asked, NEVER))
    await upstream.stop()
    const later = await house.restart()
    onTestFinished(() => later[Symbol.asyncDispose]())
    house.clock.advance(60_000)

    const known = await caught(later.manifests.get(app, asked, NEVER))
    house.clock.advance(STALE_IF_ERROR_MS)
    const tooOld = await caught(later.manifests.get(app, asked, NEVER))

    expect(known).toMatchObject({ reason: 'manifestUnknown' })
    expect(tooOld, 'that word is as old as an answer may be').toMatchObject({ reason: 'upstreamFailed' })
  })
}

for (const [tag, why] of [
  ['v2', 'it may have come since, and its pull fails either way'],
  [`sha256-${'0'.repeat(64)}.sig`, 'it signs nothing that is shown here'],
] as const) {
  test(`the absence of ${tag} is not kept for an outage: ${why}`, async () => {
    const { upstream, house, app } = await given()
    await house.manifests.get(app, ofTag('v1'), NEVER)
    await caught(house.manifests.get(app, ofTag(tag), NEVER))
    await upstream.stop()
    house.clock.advance(60_000)

    const error = await caught(house.manifests.get(app, ofTag(tag), NEVER))

    expect(error).toMatchObject({ reason: 'upstreamFailed' })
  })
}

test('a signature that came after all is shown in an outage', async () => {
  const { upstream, house, app, signature } = await given()
  const asked = ofTag(`${signature}.sig`)
  await house.manifests.get(app, ofTag('v1'), NEVER)
  await caught(house.manifests.get(app, asked, NEVER))
  const signed = upstream.addManifest('team/app', { schemaVersion: 2, manifests: [] }, MEDIA_TYPE.ociIndex)
  upstream.tag('team/app', `${signature}.sig`, signed)
  house.clock.advance(60_000)
  await house.manifests.get(app, asked, NEVER)
  await upstream.stop()
  house.clock.advance(STALE_IF_ERROR_MS / 2)

  const found = await house.manifests.get(app, asked, NEVER)

  expect(found.digest).toBe(signed)
})
