import { expect, test } from 'vitest'
import { MIB } from '../../src/base/units.ts'
import { startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'

test('an image is fetched once and then comes from here, upstream up or down', async () => {
  await using upstream = await startUpstream()
  const image = upstream.addImage('library/app', 'v1', { layers: 3, layerBytes: 3 * MIB })
  await using house = await startHouse(upstream)

  const pull = async () => {
    const manifest = await house.getManifest('library/app', 'v1')
    const parts = [image.config, ...image.layers]
    const blobs = await Promise.all(parts.map(({ digest }) => house.getBlob('library/app', digest)))
    return [manifest, ...blobs]
  }
  const cold = await pull()
  await house.quiet()
  const sent = upstream.bodyBytesSent
  const warm = await pull()
  await upstream.stop()
  const down = await pull()

  for (const answers of [cold, warm, down])
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
  expect(warm.map(({ body }) => body)).toEqual(cold.map(({ body }) => body))
  expect(down.map(({ body }) => body)).toEqual(cold.map(({ body }) => body))
  expect(upstream.bodyBytesSent).toBe(sent)
  expect(upstream.pullsCounted).toBe(1)
})
