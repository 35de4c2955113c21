import { expect, onTestFinished, test } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { Blobs } from '../../src/cache/blobs.ts'
import { Fills } from '../../src/cache/fills.ts'
import { DiskError } from '../../src/store/disk-error.ts'
import { walk } from '../../src/store/reader.ts'
import { seededBytes } from '../support/images.ts'
import { startUpstream } from '../support/upstream.ts'
import { buffers, FILL_LIMITS } from './fill-support.ts'
import { NEVER, startHouse } from './house.ts'

test('a held blob whose file cannot be opened is fetched again: the pull does not fail', async () => {
  await using fake = await startUpstream()
  await using house = await startHouse(fake)
  onTestFinished(house.end)
  const layer = seededBytes(61, 300_000)
  const digest = fake.addBlob(layer)
  await house.hold('library/a', digest, layer)
  const { disk, index, links, upstream } = house
  const keeper = {
    reserve: async () => true,
    openSpool: disk.openSpool.bind(disk),
    commit: disk.commit.bind(disk),
    setAside: disk.setAside.bind(disk),
  }
  await using fills = new Fills({ keeper, outside: systemOutside, log: silentLog }, FILL_LIMITS, () => undefined)
  const failing = {
    find: disk.find.bind(disk),
    readWhole: disk.readWhole.bind(disk),
    touch: disk.touch.bind(disk),
    openBlob: () => Promise.reject(new DiskError('failed', 'the disk failed at opening a blob')),
  }
  const parts = { index, links, fills, disk: failing, outside: systemOutside, log: silentLog }
  await using blobs = new Blobs({ ...parts, verdicts: house.verdicts, upstreamOf: () => upstream.ours })

  const from = { start: 0, end: Number.POSITIVE_INFINITY, isRange: false }
  const found = await blobs.open(house.repository('library/a'), digest, from, NEVER)

  const got: Buffer[] = []
  const span = { start: 0, end: found.sizeBytes }
  const write = async (piece: Buffer) => got.push(Buffer.from(piece)) > 0
  await walk(found.open(span), span, { write }, buffers)
  await found.close()
  expect(Buffer.concat(got).equals(layer)).toBe(true)
})
