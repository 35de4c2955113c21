import { execFile } from 'node:child_process'
import { mkdir, open, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test, vi } from 'vitest'
import { hexOf } from '../../src/oci/digest.ts'
import { checksumsOf } from '../../src/store/checksums.ts'
import { contentOf } from './content.ts'
import { fill, heldClock, newFolder, openDisk, readAll } from './support.ts'

const blob = contentOf(1, 200_000)

test('a disk that fails is degraded, is probed, and works again by itself', async () => {
  const folder = await newFolder()
  const clock = heldClock()
  await using disk = await openDisk(folder, { outside: { clock, random: () => 0 } })
  await rename(join(folder, 'spools'), join(folder, 'elsewhere'))

  await expect(disk.openSpool(blob.digest, 10)).rejects.toMatchObject({ name: 'DiskError', kind: 'failed' })
  expect([disk.isDegraded, disk.isFailing]).toEqual([true, true])
  expect(disk.usedBytes).toBe(0)
  expect(await disk.put(blob.digest, blob.bytes)).toBe(false)
  await mkdir(join(folder, 'spools'))
  await vi.waitFor(() => {
    clock.advance(5_000)
    expect(disk.isDegraded).toBe(false)
  })

  await fill(disk, blob)
  expect(await readdir(join(folder, 'spools'))).toEqual([])
})

test('a write that works ends it too', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder)
  await rename(join(folder, 'spools'), join(folder, 'elsewhere'))
  await expect(disk.openSpool(blob.digest, 10)).rejects.toThrow()
  await rename(join(folder, 'elsewhere'), join(folder, 'spools'))

  await fill(disk, blob)

  expect(disk.isDegraded).toBe(false)
})

test('a blob that can’t get its name is not kept, and its readers read on from the spool', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder)
  const spool = await disk.openSpool(blob.digest, blob.bytes.length)
  await spool.write(0, blob.bytes)
  await mkdir(join(folder, 'blobs', 'sha256', hexOf(blob.digest)))

  await expect(disk.commit(spool, checksumsOf(blob.bytes))).rejects.toMatchObject({ name: 'DiskError' })

  const into = Buffer.alloc(blob.bytes.length)
  expect(await spool.read(into, 0, into.length)).toBe(into.length)
  expect(into.equals(blob.bytes)).toBe(true)
  expect(disk.find(blob.digest)).toBeUndefined()
  await spool.close()
  expect(disk.usedBytes).toBe(0)
  expect(await readdir(join(folder, 'spools'))).toEqual([])
})

test('fault 40: without a descriptor left an opening fails, costs no row, and works once there is one', async () => {
  const folder = await newFolder()
  {
    await using disk = await openDisk(folder)
    await fill(disk, blob)
  }
  const path = fileURLToPath(new URL('./descriptors.ts', import.meta.url))

  const { stdout } = await promisify(execFile)('/bin/sh', [
    '-c',
    'ulimit -n 64; exec "$0" "$@"',
    process.execPath,
    path,
    folder,
    blob.digest,
  ])

  expect(JSON.parse(stdout)).toEqual({
    withoutAny: { name: 'DiskError', kind: 'failed' },
    spoolWithoutAny: { name: 'DiskError', kind: 'failed' },
    isDegraded: false,
    readBeside: 1_000,
    after: blob.bytes.length,
  })
})

test('fault 49: a blob under a reader is not removed, and the reader reads all of it', async () => {
  await using disk = await openDisk(await newFolder())
  await fill(disk, blob)
  const first = await disk.openBlob(blob.digest)
  const second = await disk.openBlob(blob.digest)
  const into = Buffer.alloc(blob.bytes.length)

  await first?.[Symbol.asyncDispose]()
  expect(await disk.remove(blob.digest)).toBe(0)
  expect(await second?.read(into, 0, into.length)).toBe(into.length)
  expect(into.equals(blob.bytes)).toBe(true)
  await second?.[Symbol.asyncDispose]()
  await second?.[Symbol.asyncDispose]() // once more changes nothing

  expect(await disk.remove(blob.digest)).toBe(blob.bytes.length)
  expect(await disk.openBlob(blob.digest)).toBeUndefined()
})

test('fault 49: a blob that is still read through its spool is not removed', async () => {
  await using disk = await openDisk(await newFolder())
  const spool = await disk.openSpool(blob.digest, blob.bytes.length)
  await spool.write(0, blob.bytes)
  await disk.commit(spool, checksumsOf(blob.bytes))

  expect(await disk.remove(blob.digest)).toBe(0)
  expect(await spool.read(Buffer.alloc(10), 5, 100)).toBe(10)
  await spool.close()

  expect(await disk.remove(blob.digest)).toBe(blob.bytes.length)
})

test('fault 49: openings and removals at once give a whole blob or none, and every byte back', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder)

  for (let round = 0; round < 40; round += 1) {
    await disk.put(blob.digest, blob.bytes)
    const acts = [readAll(disk, blob.digest), disk.remove(blob.digest), readAll(disk, blob.digest)] as const
    const [before, freed, after] =
      round % 2 === 0 ? await Promise.all(acts) : [await acts[0], await acts[1], await acts[2]]
    for (const read of [before, after]) expect(read === undefined || read.equals(blob.bytes)).toBe(true)
    expect(freed === 0 || freed === blob.bytes.length).toBe(true)
    await disk.remove(blob.digest)
    expect(disk.usedBytes).toBe(0)
  }

  expect(await readdir(join(folder, 'blobs', 'sha256'))).toEqual([])
})

test('a blob that is set aside is gone for those who come, and in the quarantine for a person', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder)
  await fill(disk, blob)
  await using reader = await disk.openBlob(blob.digest)
  const wrong = Buffer.alloc(blob.bytes.length)
  await writeFile(join(folder, 'wrong'), wrong)
  await rename(join(folder, 'wrong'), join(folder, 'blobs', 'sha256', hexOf(blob.digest)))

  expect(await disk.walk.verify(blob.digest)).toBe('wrong')

  expect(disk.find(blob.digest)).toBeUndefined()
  expect(disk.usedBytes).toBe(0)
  expect(await reader?.read(Buffer.alloc(10), 0, 10)).toBe(10)
  const [name = ''] = await readdir(join(folder, 'quarantine'))
  expect((await readFile(join(folder, 'quarantine', name))).equals(wrong)).toBe(true)
  await fill(disk, blob)
  expect((await readAll(disk, blob.digest))?.equals(blob.bytes)).toBe(true)
  expect(disk.counts().quarantined).toBe(1)
})

test('fault 36: a reader whose file went wrong has nothing set aside of what another fill brought since', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder)
  await fill(disk, blob)
  await using reader = await disk.openBlob(blob.digest)
  await using file = await open(join(folder, 'blobs', 'sha256', hexOf(blob.digest)), 'r+')
  const into = Buffer.alloc(blob.bytes.length)
  expect(await reader?.read(into, 0, into.length)).toBe(into.length)
  await fill(disk, blob)
  await file.write(Buffer.alloc(100), 0, 100, 50)

  await expect(reader?.read(into, 0, into.length)).rejects.toMatchObject({ name: 'DiskError', kind: 'wrong' })

  expect(disk.counts()).toMatchObject({ blobs: 1, quarantined: 0 })
  expect((await readAll(disk, blob.digest))?.equals(blob.bytes)).toBe(true)
})

test('fault 4: a spool that is set aside is closed, and the next one of its digest is new', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder)
  const wrong = await disk.openSpool(blob.digest, blob.bytes.length)
  await wrong.write(0, Buffer.alloc(blob.bytes.length))

  const setAside = disk.setAside(wrong, 'a test')
  await using right = await disk.openSpool(blob.digest, blob.bytes.length)
  await setAside

  expect(right.held.bytes).toBe(0)
  await expect(wrong.read(Buffer.alloc(10), 0, 10)).rejects.toMatchObject({ name: 'DiskError' })
  await right.write(0, blob.bytes)
  await disk.commit(right, checksumsOf(blob.bytes))
  expect((await readAll(disk, blob.digest))?.equals(blob.bytes)).toBe(true)
  expect(await readdir(join(folder, 'quarantine'))).toHaveLength(1)
})

test('the quarantine keeps the newest sixteen', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder)

  for (let seed = 0; seed < 20; seed += 1) {
    const each = contentOf(seed, 100)
    const spool = await disk.openSpool(each.digest, each.bytes.length)
    await spool.write(0, each.bytes)
    await disk.setAside(spool, 'a test')
  }

  expect(await readdir(join(folder, 'quarantine'))).toHaveLength(16)
  expect(disk.counts().quarantined).toBe(20)
})

test('what an abandoned spool held is read while newcomers fill another', async () => {
  await using disk = await openDisk(await newFolder())
  const old = await disk.openSpool(blob.digest, blob.bytes.length)
  await old.write(0, blob.bytes.subarray(0, 50_000))

  void old.abandon()
  await fill(disk, blob)

  const into = Buffer.alloc(50_000)
  expect(await old.read(into, 0, 50_000)).toBe(50_000)
  expect(into.equals(blob.bytes.subarray(0, 50_000))).toBe(true)
  expect(disk.usedBytes).toBe(blob.bytes.length + 50_000)
  await old.close()
  expect(disk.usedBytes).toBe(blob.bytes.length)
  expect((await readAll(disk, blob.digest))?.equals(blob.bytes)).toBe(true)
})

test('a spool that was closed under a read gives the read its bytes first', async () => {
  await using disk = await openDisk(await newFolder())
  const spool = await disk.openSpool(blob.digest, blob.bytes.length)
  await spool.write(0, blob.bytes)
  const into = Buffer.alloc(blob.bytes.length)

  const reading = spool.read(into, 0, into.length)
  await spool.discard()

  expect(await reading).toBe(into.length)
  expect(into.equals(blob.bytes)).toBe(true)
})
