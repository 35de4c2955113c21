import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, open, readdir, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { checksumsOf } from '../../src/store/checksums.ts'
import { Disk } from '../../src/store/disk.ts'
import { contentOf } from '../store/content.ts'

const MIB = 1024 * 1024

/** A small volume of its own, which wants root; it is unmounted after the test. */
async function newVolume(options: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-full-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder])
  onTestFinished(async () => {
    execFileSync('umount', ['-l', folder])
    await rm(folder, { recursive: true, force: true })
  })
  return folder
}

/** A disk whose own rules never say that the volume is full: the kernel does. */
const openDisk = (folder: string): Promise<Disk> =>
  Disk.open({ folder, cap: { bytes: 1e12 }, freeKeptBytes: 0, outside: systemOutside, log: silentLog })

const freeBytesOf = async (folder: string): Promise<number> => {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

test('fault 29: a disk that fills within a piece is an error of that piece, and what was held stays right', async () => {
  const folder = await newVolume('size=8m')
  await using disk = await openDisk(folder)
  const { digest, bytes } = contentOf(1, 12 * MIB)
  const spool = await disk.openSpool(digest, bytes.length)

  let held = 0
  const filling = (async () => {
    for (; held < bytes.length; held += MIB) await spool.write(held, bytes.subarray(held, held + MIB))
  })()

  await expect(filling).rejects.toMatchObject({ name: 'DiskError', kind: 'full' })
  expect(spool.held.bytes).toBe(held)
  expect(held).toBeGreaterThan(2 * MIB)
  expect(disk.isDegraded).toBe(true)
  const into = Buffer.alloc(held)
  expect(await spool.read(into, 0, held)).toBe(held)
  expect(into.equals(bytes.subarray(0, held))).toBe(true)
  await expect(disk.commit(spool, checksumsOf(bytes))).rejects.toMatchObject({ name: 'DiskError' })
  expect(await spool.read(into, 0, held)).toBe(held)
  await spool.close()
  expect(disk.find(digest)).toBeUndefined()
  expect(await readdir(join(folder, 'blobs', 'sha256'))).toEqual([])
  expect(await readdir(join(folder, 'spools'))).not.toContain(expect.stringContaining('sha256'))
})

test('fault 29: a short write within one piece is never taken for a whole one', async () => {
  const folder = await newVolume('size=4m')
  await using disk = await openDisk(folder)
  const { digest, bytes } = contentOf(2, 6 * MIB)
  await using spool = await disk.openSpool(digest, bytes.length)

  await expect(spool.write(0, bytes)).rejects.toMatchObject({ kind: 'full' })

  expect(spool.held.bytes).toBe(0)
})

test('fault 30: a disk that was full works again by itself once there is room', async () => {
  const folder = await newVolume('size=8m')
  await using disk = await openDisk(folder)
  await writeFile(join(folder, 'ballast'), Buffer.alloc((await freeBytesOf(folder)) - 8_192))
  const content = contentOf(3, MIB)
  expect(await disk.put(content.digest, content.bytes)).toBe(false)
  await expectFull(disk, contentOf(4, MIB))
  expect(disk.isDegraded).toBe(true)

  await rm(join(folder, 'ballast'))

  await vi.waitFor(() => expect(disk.isDegraded).toBe(false), { timeout: 15_000, interval: 100 })
  expect(await disk.put(content.digest, content.bytes)).toBe(true)
  expect((await disk.readWhole(content.digest, MIB))?.equals(content.bytes)).toBe(true)
})

test('fault 30: without an inode left nothing new is kept, what is held is served, and it works again by itself', async () => {
  const folder = await newVolume('size=32m,nr_inodes=64')
  await using disk = await openDisk(folder)
  const held = contentOf(5, 10_000)
  expect(await disk.put(held.digest, held.bytes)).toBe(true)
  await mkdir(join(folder, 'ballast'))
  await useUpInodes(join(folder, 'ballast'))
  const content = contentOf(6, 10_000)

  await expect(disk.openSpool(content.digest, 10_000)).rejects.toMatchObject({ name: 'DiskError', kind: 'full' })
  expect(await disk.put(content.digest, content.bytes)).toBe(false)
  expect((await disk.readWhole(held.digest, MIB))?.equals(held.bytes)).toBe(true)

  await rm(join(folder, 'ballast'), { recursive: true })
  await vi.waitFor(() => expect(disk.isDegraded).toBe(false), { timeout: 15_000, interval: 100 })
  expect(await disk.put(content.digest, content.bytes)).toBe(true)
})

test('fault 30: on a volume without a byte left a blob can still be evicted, which makes room', async () => {
  const folder = await newVolume('size=8m')
  await using disk = await openDisk(folder)
  const contents = [1, 2, 3].map((seed) => contentOf(seed, MIB))
  for (const { digest, bytes } of contents) expect(await disk.put(digest, bytes)).toBe(true)
  await fillUp(join(folder, 'ballast'))

  for (const { digest } of contents) expect(await disk.remove(digest)).toBe(MIB)

  expect(disk.usedBytes).toBe(0)
  expect(disk.counts().blobs).toBe(0)
  expect(await disk.put(contentOf(4, MIB).digest, contentOf(4, MIB).bytes)).toBe(true)
})

test('fault 30: on a volume without a byte left it starts, keeping what it can', async () => {
  const folder = await newVolume('size=16m')
  const contents = [1, 2, 3, 4].map((seed) => contentOf(seed, MIB))
  {
    await using disk = await openDisk(folder)
    for (const { digest, bytes } of contents) expect(await disk.put(digest, bytes)).toBe(true)
    await fillUp(join(folder, 'ballast'))
  }

  await using disk = await openDisk(folder)

  expect(disk.counts().blobs).toBeGreaterThanOrEqual(2)
  for (const { digest, bytes } of contents.filter(({ digest }) => disk.find(digest))) {
    expect((await disk.readWhole(digest, MIB))?.equals(bytes)).toBe(true)
  }
})

test('fault 90: what was removed is free again on the volume', async () => {
  const folder = await newVolume('size=64m')
  await using disk = await openDisk(folder)
  const freeBytes = await freeBytesOf(folder)
  const contents = [1, 2, 3].map((seed) => contentOf(seed, 5 * MIB))
  for (const { digest, bytes } of contents) await disk.put(digest, bytes)
  expect(freeBytes - (await freeBytesOf(folder))).toBeGreaterThanOrEqual(15 * MIB)

  for (const { digest } of contents) expect(await disk.remove(digest)).toBe(5 * MIB)

  expect(freeBytes - (await freeBytesOf(folder))).toBeLessThan(MIB)
  expect(disk.usedBytes).toBe(0)
})

async function expectFull(disk: Disk, { digest, bytes }: ReturnType<typeof contentOf>): Promise<void> {
  await using spool = await disk.openSpool(digest, bytes.length)
  await expect(spool.write(0, bytes)).rejects.toMatchObject({ kind: 'full' })
}

async function fillUp(path: string): Promise<void> {
  await using file = await open(path, 'w')
  try {
    for (let offset = 0; ; ) offset += (await file.write(Buffer.alloc(4_096), 0, 4_096, offset)).bytesWritten
  } catch {
    // ENOSPC: that was the last page
  }
}

async function useUpInodes(folder: string): Promise<void> {
  try {
    for (let number = 0; ; number += 1) await writeFile(join(folder, String(number)), '')
  } catch {
    // ENOSPC: that was the last
  }
}
