import { rm } from 'node:fs/promises'
import { expect, test, vi } from 'vitest'
import { open } from '../support/ask.ts'
import { startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'

const MIB = 1024 * 1024

test('fault 38: with the folder removed under it each pull is whole, also one under way; it is unready, then ready by itself', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1', { layers: 3, layerBytes: 4 * MIB })
  await using house = await startHouse(fake)
  const [first = image.config, second = image.config, third = image.config] = image.layers
  await house.getManifest('library/app', 'v1')
  await house.getBlob('library/app', first.digest)
  fake.behave({ match: /blobs/, times: 1, act: { bytesPerSecond: 16 * MIB, dripBytes: 64 * 1024 } })
  const underWay = await open(`${house.origin}/v2/library/app/blobs/${second.digest}`)
  const ready = async () => (await house.askAdmin('/readyz')).status

  await rm(house.folder, { recursive: true })
  for (const { digest } of [first, third]) {
    expect((await house.getBlob('library/app', digest)).body.equals(image.bytesOf(digest))).toBe(true)
  }
  expect(await ready()).toBe(503)
  expect(await house.number('millpond_degraded{part="disk"}')).toBe(1)
  expect(Buffer.concat(await underWay.toArray()).equals(image.bytesOf(second.digest))).toBe(true)

  await vi.waitFor(async () => expect(await ready()).toBe(200), { timeout: 20_000, interval: 100 })
  expect(await house.number('millpond_degraded{part="disk"}')).toBe(0)
  for (const { digest } of [first, second, third]) {
    expect((await house.getBlob('library/app', digest)).body.equals(image.bytesOf(digest))).toBe(true)
  }
  await house.quiet()
  await house.restart()
  expect(house.server.disk.find(third.digest)).toMatchObject({ sizeBytes: 4 * MIB })
})
