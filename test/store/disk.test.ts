import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { hexOf } from '../../src/oci/digest.ts'
import { checksumsOf } from '../../src/store/checksums.ts'
import { contentOf } from './content.ts'
import { fill, newFolder, openDisk, readAll } from './support.ts'

test('a committed spool is a blob under its own name, read back whole, and after a restart too', async () => {
  const folder = await newFolder()
  const content = contentOf(1, 3_000_000)
  {
    await using disk = await openDisk(folder)
    await fill(disk, content)

    expect(disk.find(content.digest)).toMatchObject({ sizeBytes: content.bytes.length })
    expect((await readAll(disk, content.digest))?.equals(content.bytes)).toBe(true)
    expect(await readFile(join(folder, 'blobs', 'sha256', hexOf(content.digest)))).toEqual(content.bytes)
    expect(await readdir(join(folder, 'spools'))).toEqual([])
    expect(disk.usedBytes).toBe(content.bytes.length)
    expect(disk.counts()).toEqual({ blobs: 1, bytes: content.bytes.length, open: 0, spools: 0, quarantined: 0 })
  }

  await using again = await openDisk(folder)

  expect((await readAll(again, content.digest))?.equals(content.bytes)).toBe(true)
  expect(again.usedBytes).toBe(content.bytes.length)
})

test('a blob that is put is read back, and put again is kept once', async () => {
  await using disk = await openDisk(await newFolder())
  const content = contentOf(2, 1_000)

  expect(await disk.put(content.digest, content.bytes)).toBe(true)
  expect(await disk.put(content.digest, content.bytes)).toBe(true)

  expect((await readAll(disk, content.digest))?.equals(content.bytes)).toBe(true)
  expect(disk.usedBytes).toBe(1_000)
})

test('a spool takes pieces in any order and gives back only what it holds', async () => {
  await using disk = await openDisk(await newFolder())
  const { digest, bytes } = contentOf(3, 300_000)
  const spool = await disk.openSpool(digest, bytes.length)
  const into = Buffer.alloc(bytes.length)

  await spool.write(200_000, bytes.subarray(200_000))
  await spool.write(0, bytes.subarray(0, 100_000))

  expect(await spool.read(into, 0, bytes.length)).toBe(100_000)
  expect(await spool.read(into, 100_000, bytes.length)).toBe(0)
  expect(await spool.read(into, 250_000, 260_000)).toBe(10_000)
  expect(into.subarray(0, 10_000)).toEqual(bytes.subarray(250_000, 260_000))
  expect(spool.held.gaps(bytes.length)).toEqual([{ start: 100_000, end: 200_000 }])
  expect(disk.usedBytes).toBe(bytes.length)
  await expect(disk.commit(spool, checksumsOf(bytes))).rejects.toMatchObject({ name: 'DiskError', kind: 'failed' })
  expect(await spool.read(into, 0, bytes.length)).toBe(100_000)
  await spool.close()
  expect(disk.find(digest)).toBeUndefined()
  expect(disk.usedBytes).toBe(0)
  await expect(spool.read(into, 0, 10)).rejects.toMatchObject({ name: 'DiskError' })
})

test('a spool that is kept is gone on with, in this process and in the next', async () => {
  const folder = await newFolder()
  const { digest, bytes } = contentOf(4, 300_000)
  {
    await using disk = await openDisk(folder)
    const spool = await disk.openSpool(digest, bytes.length)
    await spool.write(0, bytes.subarray(0, 100_000))
    await spool.keep()
    const resumed = await disk.openSpool(digest, undefined)
    expect(resumed.held.endFrom(0)).toBe(100_000)
    expect(resumed.sizeBytes).toBe(bytes.length)
    await resumed.write(100_000, bytes.subarray(100_000, 200_000))
  } // the disk keeps what is growing

  await using again = await openDisk(folder)
  expect(again.usedBytes).toBe(200_000)
  await using spool = await again.openSpool(digest, bytes.length)
  expect(spool.held.ranges).toEqual([{ start: 0, end: 200_000 }])
  await spool.write(200_000, bytes.subarray(200_000))
  await again.commit(spool, checksumsOf(bytes))

  expect((await readAll(again, digest))?.equals(bytes)).toBe(true)
})

test('a folder is made with all that leads to it', async () => {
  await using disk = await openDisk(join(await newFolder(), 'a', 'b'))

  expect(await disk.put(contentOf(1, 10).digest, contentOf(1, 10).bytes)).toBe(true)
})

test('a folder that can’t be made is refused in a sentence, and not tried for ever', async () => {
  await expect(openDisk('/proc/millpond')).rejects.toThrow(
    "nothing can be kept in /proc/millpond: the folder /proc/millpond/blobs/sha256 can't be made",
  )
})
