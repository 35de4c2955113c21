import { readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ask } from '../support/ask.ts'
import { startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'
import { bookTroublesIn, misnamedBlobsIn, secretsIn, strayFilesIn, useTroublesIn } from './aftermath.ts'
import { underWayIn } from './gauges.ts'
import { World } from './world.ts'

/** A folder that was closed in order, with an image in it. */
async function closedStore() {
  const fake = await startUpstream()
  onTestFinished(() => fake[Symbol.asyncDispose]())
  const image = fake.addImage('team/app', 'v1', { layers: 2, layerBytes: 100_000 })
  const house = await startHouse(fake)
  onTestFinished(() => house[Symbol.asyncDispose]())
  await house.getManifest('team/app', 'v1')
  for (const { digest } of image.layers) await house.getBlob('team/app', digest)
  await house.quiet()
  await house.stop()
  const blobs = join(house.folder, 'blobs', 'sha256')
  const [name = ''] = await readdir(blobs)
  return { folder: house.folder, name, path: join(blobs, name) }
}

test('a folder that was closed in order is found to be in order', async () => {
  const { folder } = await closedStore()

  expect(await misnamedBlobsIn(folder, new Set())).toEqual([])
  expect(await bookTroublesIn(folder)).toEqual([])
  expect(await secretsIn(folder, ['canary'])).toEqual([])
})

test('a blob with other bytes than its name says is found, unless it was damaged on purpose', async () => {
  const { folder, name, path } = await closedStore()
  await writeFile(path, 'other bytes')

  expect(await misnamedBlobsIn(folder, new Set())).toEqual([`blobs/sha256/${name} has other bytes`])
  expect(await misnamedBlobsIn(folder, new Set([name]))).toEqual([])
})

test('books that say other than the folder are found: a file too few, one too many, one of another size', async () => {
  const { folder, name, path } = await closedStore()
  await truncate(path, 3)
  expect(await bookTroublesIn(folder)).toContainEqual(expect.stringMatching(`sha256:${name} has 3 bytes`))

  await rm(path)
  expect(await bookTroublesIn(folder)).toContain(`sha256:${name} has no file`)
  await writeFile(join(folder, 'blobs', 'sha256', 'f'.repeat(64)), 'more')

  expect(await bookTroublesIn(folder)).toContain(`sha256:${'f'.repeat(64)} has no row`)
})

test('what a server says that it takes is compared with what is there, and what nobody needs is told', async () => {
  const { folder, path } = await closedStore()
  const usedBytes = 3 * 100_000 // less, for the smaller files, and more than they are
  expect(await useTroublesIn(folder, usedBytes)).toHaveLength(1)
  expect(await strayFilesIn(folder)).toEqual([])

  await rm(path)
  await writeFile(join(folder, 'spools', `sha256-${'a'.repeat(64)}`), Buffer.alloc(200_000))

  expect(await strayFilesIn(folder)).toEqual([expect.stringContaining('was left there')])
  expect(await useTroublesIn(folder, usedBytes)).toEqual([])
})

test('a secret in any file of a folder is found', async () => {
  const { folder } = await closedStore()
  await writeFile(join(folder, 'spools', 'note'), 'a token=canary-12345678')

  expect(await secretsIn(folder, ['canary-12345678'])).toEqual([expect.stringContaining('spools/note holds')])
})

test('what is under way is told, and so is a number that is missing', () => {
  const names = underWayIn(new Map()).map((line) => line.split(' ')[0] ?? '')
  const atRest = new Map(names.map((name) => [name, 0]))

  expect(underWayIn(atRest)).toEqual([])
  expect(underWayIn(new Map([...atRest, ['millpond_fills_under_way', 2]]))).toEqual(['millpond_fills_under_way is 2'])
})

test('what a client, the account or a signature gave away to somebody else is told', async () => {
  await using world = await World.start(1)
  await world.open()
  const { fake } = world.host('plain.test')
  world.tally()
  expect([...world.leaks, ...world.lootOfThieves()]).toEqual([])

  await ask(`${fake.origin}/v2/`, { headers: { authorization: world.canaries.clientHeader } })
  world.tally()
  await ask(`${world.thief.origin}/`, { headers: { cookie: 'a=b' } })
  await ask(`${world.thief.origin}/?X-Amz-Signature=${world.canaries.signature}`)
  await ask(`${world.stranger.origin}/`)

  expect(world.leaks).toHaveLength(2)
  expect(world.lootOfThieves()).toHaveLength(3)
})
