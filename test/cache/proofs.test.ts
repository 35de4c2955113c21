import { expect, onTestFinished, test } from 'vitest'
import { startUpstream, type UpstreamOptions } from '../support/upstream.ts'
import { type HouseOptions, NEVER, ofDigest, ofTag, startHouse } from './house.ts'

async function given(options: HouseOptions = {}, upstreamOptions: UpstreamOptions = {}) {
  const upstream = await startUpstream(upstreamOptions)
  const house = await startHouse(upstream, options)
  onTestFinished(async () => {
    await house[Symbol.asyncDispose]()
    await upstream.stop()
    await house.end()
  })
  return { upstream, house, app: house.repository('team/app'), other: house.repository('other/app') }
}

const PRIVATE = {
  account: { username: 'bot', password: 'secret' },
  upstream: { auth: { kind: 'bearer', users: { bot: 'secret' }, isPrivate: () => true } },
} as const

const caught = (work: Promise<unknown>) => work.catch((error: unknown) => error)

test('fault 75: what is held for another repository is as absent as what is not held, with one text', async () => {
  const { upstream, house, app, other } = await given({ account: PRIVATE.account }, PRIVATE.upstream)
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  await house.manifests.get(app, ofTag('v1'), NEVER)
  const nowhere = ofDigest(upstream.addManifest('nobody/here', { schemaVersion: 2, layers: [] }))

  const held = await caught(house.manifests.get(other, ofDigest(image.digest), NEVER))
  const absent = await caught(house.manifests.get(other, nowhere, NEVER))

  expect(held).toMatchObject({ reason: 'manifestUnknown' })
  expect(String(held)).toBe(String(absent))
  expect(await house.index.mayShow(other, image.digest)).toBe(false)
})

test("fault 76: upstream's 200 for this repository is the link, and costs no second copy", async () => {
  const { upstream, house, app, other } = await given({ account: PRIVATE.account }, PRIVATE.upstream)
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  upstream.addManifest('other/app', image.manifest)
  await house.manifests.get(app, ofTag('v1'), NEVER)

  const found = await house.manifests.get(other, ofDigest(image.digest), NEVER)

  expect(found).toMatchObject({ bytes: image.manifest, facts: { hit: false, fwd: 'uri-miss', fwdStatus: 200 } })
  expect(upstream.pullsCounted).toBe(1)
  expect(house.manifests.find(other, ofDigest(image.digest))).toBeDefined()
})

test('fault 75: in an outage what is not linked here looks like what is not held', async () => {
  const { upstream, house, app, other } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  await house.manifests.get(app, ofTag('v1'), NEVER)
  const nowhere = ofDigest(upstream.addManifest('nobody/here', { schemaVersion: 2, layers: [] }))
  await upstream.stop()

  const held = await caught(house.manifests.get(other, ofDigest(image.digest), NEVER))
  const absent = await caught(house.manifests.get(other, nowhere, NEVER))

  expect(held).toMatchObject({ reason: 'upstreamFailed' })
  expect(String(held)).toBe(String(absent))
})

test('what a HEAD by tag told, and we hold for another repository, is linked behind it', async () => {
  const { upstream, house, app, other } = await given()
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  upstream.addManifest('other/app', image.manifest)
  upstream.tag('other/app', 'v1', image.digest)
  await house.manifests.get(app, ofTag('v1'), NEVER)

  await house.manifests.head(other, ofTag('v1'), NEVER)

  await expect.poll(() => house.index.mayShow(other, image.digest)).toBe(true)
  expect(upstream.pullsCounted).toBe(1)
})

test('what a new manifest names and we hold is proved behind it, by one HEAD each', async () => {
  const { upstream, house, other } = await given({ account: PRIVATE.account }, PRIVATE.upstream)
  const image = upstream.addImage('other/app', 'v1', { layers: 2 })
  const [layer] = image.layers
  if (!layer) throw new Error('no layer')
  await house.hold('team/app', layer.digest, image.bytesOf(layer.digest), false) // for another tenant

  await house.manifests.get(other, ofTag('v1'), NEVER)
  await house.prover.idle()

  expect(await house.index.mayShow(other, layer.digest)).toBe(true)
  expect(upstream.requestsOf('blobs').filter((each) => each.startsWith('HEAD'))).toHaveLength(1)
})

test('so is what a held manifest names, once it is proved for another repository', async () => {
  const { upstream, house, app, other } = await given({ account: PRIVATE.account }, PRIVATE.upstream)
  const image = upstream.addImage('team/app', 'v1', { layers: 0 })
  upstream.addManifest('other/app', image.manifest)
  await house.manifests.get(app, ofTag('v1'), NEVER)
  await house.hold('team/app', image.config.digest, image.bytesOf(image.config.digest), false)

  await house.manifests.get(other, ofDigest(image.digest), NEVER)
  await house.prover.idle()

  expect(await house.index.mayShow(other, image.config.digest)).toBe(true)
})

test('a manifest that merely names what another tenant holds proves nothing', async () => {
  const { upstream, house, other } = await given({ account: PRIVATE.account }, PRIVATE.upstream)
  const image = upstream.addImage('other/app', 'v1', { layers: 1 })
  const victim = image.layers[0]?.digest
  if (!victim) throw new Error('no layer')
  await house.hold('team/app', victim, image.bytesOf(victim), false)
  upstream.behave({ match: /other\/app\/blobs/, act: { status: 404, body: '' } })

  await house.manifests.get(other, ofTag('v1'), NEVER)
  await house.prover.idle()

  expect(await house.index.mayShow(other, victim)).toBe(false)
})
