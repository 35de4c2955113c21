import { expect, onTestFinished, test } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { Blobs, type BlobsParts } from '../../src/cache/blobs.ts'
import type { FillEnd } from '../../src/cache/fill.ts'
import { Fills } from '../../src/cache/fills.ts'
import type { Keeper } from '../../src/cache/keeping.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import { DiskError } from '../../src/store/disk-error.ts'
import { walk } from '../../src/store/reader.ts'
import { seededBytes } from '../support/images.ts'
import { startUpstream } from '../support/upstream.ts'
import { buffers, FILL_LIMITS } from './fill-support.ts'
import { NEVER, startHouse } from './house.ts'

const WHOLE = { start: 0, end: Number.POSITIVE_INFINITY, isRange: false }

type Given = {
  readonly disk?: Partial<BlobsParts['disk']>
  readonly keeper?: Partial<Keeper>
  readonly onEnd?: (end: FillEnd) => void
}

/** Blobs over the rooms of a house, and 300,000 bytes that its registry has. */
async function given({ disk: otherDisk, keeper: otherKeeper, onEnd = () => undefined }: Given = {}) {
  const fake = await startUpstream()
  const house = await startHouse(fake)
  const layer = seededBytes(61, 300_000)
  const digest = fake.addBlob(layer)
  const { disk, index, links, upstream, verdicts } = house
  const keeper = {
    reserve: async (_bytes: number, take: () => void) => {
      take()
      return true
    },
    openSpool: disk.openSpool.bind(disk),
    commit: disk.commit.bind(disk),
    setAside: disk.setAside.bind(disk),
    ...otherKeeper,
  }
  const around = { outside: systemOutside, log: silentLog }
  const fills = new Fills({ keeper, ...around }, FILL_LIMITS, onEnd)
  const held = {
    find: disk.find.bind(disk),
    readWhole: disk.readWhole.bind(disk),
    touch: disk.touch.bind(disk),
    openBlob: disk.openBlob.bind(disk),
    ...otherDisk,
  }
  const ours = { ...around, index, links, fills, disk: held, verdicts }
  const blobs = new Blobs({ ...ours, upstreamOf: () => upstream.ours })
  onTestFinished(async () => {
    for (const each of [blobs, fills, house, fake]) await each[Symbol.asyncDispose]()
    await house.end()
  })
  const read = async (path: string) => {
    const found = await blobs.open(house.repository(path), digest, WHOLE, NEVER)
    const got: Buffer[] = []
    const span = { start: 0, end: found.sizeBytes }
    const write = async (piece: Buffer) => got.push(Buffer.from(piece)) > 0
    await walk(found.open(span), span, { write }, buffers)
    await found.close()
    return Buffer.concat(got)
  }
  return { fake, house, fills, layer, digest, read }
}

test('a held blob whose file cannot be opened is fetched again: the pull does not fail', async () => {
  const openBlob = () => Promise.reject(new DiskError('failed', 'the disk failed at opening a blob'))
  const { house, digest, layer, read } = await given({ disk: { openBlob } })
  await house.hold('library/a', digest, layer)

  expect((await read('library/a')).equals(layer)).toBe(true)
})

test('fault 88: who joins fills that others begin where the blob is not, one after the other, is told no 404', async () => {
  let begun = 0
  const begin = () => void (begun++ < 20 && read(`none/app-${begun}`).catch(() => undefined))
  const { fake, house, fills, digest, layer, read } = await given({ onEnd: ({ at }) => at === 'failed' && begin() })
  await house.links.prove(house.repository('open/app'), digest, true)
  fake.behave({ match: /none.*blobs/, act: { status: 404, body: '{}', delayMs: 50 } })
  begin()
  await expect.poll(() => fills.count).toBe(1)

  expect((await read('open/app')).equals(layer)).toBe(true)
  expect(begun).toBeLessThan(20)
})

test("fault 75: what was left whole of another's fill, and can't be kept, opens to nobody without upstream's word", async () => {
  const commit = () => Promise.reject(new DiskError('full', 'the disk takes no more'))
  const { fake, house, digest, layer, read } = await given({ keeper: { commit } })
  fake.hide('none/app', digest)
  const naming = digestOf(Buffer.from('a manifest of none/app that names it'))
  const child = { digest, mediaType: MEDIA_TYPE.octets, sizeBytes: layer.length }
  await house.index.putManifest({ digest: naming, mediaType: MEDIA_TYPE.ociManifest, sizeBytes: 1, children: [child] })
  await house.links.prove(house.repository('none/app'), naming, false)
  const leave = async () => {
    const spool = await house.disk.openSpool(digest, layer.length)
    spool.grow(layer.length)
    await spool.write(0, layer)
    await spool.close()
  }

  await leave()
  const refused = await read('none/app').catch((error: unknown) => error)
  await leave()
  const shown = await read('open/app')

  expect(refused).toMatchObject({ reason: 'blobUnknown' })
  expect(shown.equals(layer)).toBe(true)
})
