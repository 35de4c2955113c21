import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { hexOf } from '../../src/oci/digest.ts'
import { Disk } from '../../src/store/disk.ts'
import { contentOf } from '../store/content.ts'
import { type Ended, MillpondProcess } from '../support/process.ts'

const ALL = [1, 2, 3].map((seed) => contentOf(seed, 100_000))
const [FIRST, SECOND] = ALL

async function folderWithBlobs({ onTestFinished }: Pick<TestContext, 'onTestFinished'>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-verify-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  await using disk = await openDisk(folder)
  for (const { digest, bytes } of ALL) await disk.put(digest, bytes)
  return folder
}

const openDisk = (folder: string) =>
  Disk.open({ folder, cap: { bytes: 1e9 }, outside: systemOutside, log: silentLog, freeKeptBytes: 0 })
const pathOf = (folder: string, content = FIRST) =>
  join(folder, 'blobs', 'sha256', content === undefined ? '' : hexOf(content.digest))

async function verify(folder: string, ...more: readonly string[]): Promise<Ended> {
  await using millpond = new MillpondProcess(['verify', '--disk-folder', folder, ...more])
  return await millpond.ended()
}

test.concurrent('verify says that all is right, and ends with 0', async (context) => {
  const { expect } = context
  const folder = await folderWithBlobs(context)

  expect(await verify(folder)).toEqual({
    status: 0,
    out: expect.stringMatching(/^3 blobs, 293 KiB in [0-9.]+ s: all right\n$/),
    err: '',
  })
})

test.concurrent('fault 36: verify names what is wrong or lost, sets it aside, and ends with 1; the next finds all right', async (context) => {
  const { expect } = context
  const folder = await folderWithBlobs(context)
  await writeFile(pathOf(folder, FIRST), Buffer.alloc(100_000))
  await rm(pathOf(folder, SECOND))

  const dry = await verify(folder, '--dry-run')
  const told = await verify(folder)
  const after = await verify(folder)

  expect(dry.status).toBe(1)
  expect(dry.out).toContain(`${FIRST?.digest} is not what its name says\n`)
  expect(told.status).toBe(1)
  expect(told.out).toContain(`${FIRST?.digest} is not what its name says: it is in the quarantine\n`)
  expect(told.out).toContain(`${SECOND?.digest} has no file of its size: it is forgotten\n`)
  expect(told.out).toContain(': 1 wrong, 1 lost\n')
  expect(after).toMatchObject({ status: 0, out: expect.stringContaining('1 blobs, 97.7 KiB') })
  expect(await readdir(join(folder, 'quarantine'))).toHaveLength(1)
})

test.concurrent('verify that can not be done says why in a sentence, and ends with 2', async (context) => {
  const { expect } = context
  const folder = await folderWithBlobs(context)
  await using held = await openDisk(folder)
  const [inUse, none] = await Promise.all([verify(folder), verify(join(folder, 'nowhere'))])

  expect(inUse).toEqual({
    status: 2,
    out: '',
    err: expect.stringContaining(`millpond: the folder ${folder} is in use by process ${process.pid}`),
  })
  expect(none).toEqual({
    status: 2,
    out: '',
    err: `millpond: ${join(folder, 'nowhere')} holds no blobs (the key is disk.folder)\n`,
  })
  expect(held.counts().blobs).toBe(3)
})
