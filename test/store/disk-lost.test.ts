import { renameSync } from 'node:fs'
import { open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { Books } from '../../src/store/books.ts'
import type { Disk } from '../../src/store/disk.ts'
import { contentOf } from './content.ts'
import { fill, type HeldClock, heldClock, newFolder, openDisk, readAll } from './support.ts'

const one = contentOf(1, 100_000)
const two = contentOf(2, 50_000)

async function given() {
  const folder = join(await newFolder(), 'data')
  const clock = heldClock()
  const disk = await openDisk(folder, { outside: { clock, random: () => 0 } })
  await fill(disk, one)
  return { folder, clock, disk }
}

/** Time passes until the disk has looked and is as it should be. */
const looked = (clock: HeldClock, isRight: () => boolean) =>
  vi.waitFor(() => {
    clock.advance(5_000)
    expect(isRight()).toBe(true)
  })

async function expectKeeps(folder: string, disk: Disk): Promise<void> {
  await fill(disk, two)
  expect((await readAll(disk, two.digest))?.equals(two.bytes)).toBe(true)
  expect(await readdir(join(folder, 'blobs', 'sha256'))).toContain(two.digest.slice('sha256:'.length))
  expect((await stat(join(folder, 'disk.sqlite'))).isFile()).toBe(true)
}

test('fault 38: a folder removed while running is made anew, is kept in, and is there after a restart', async () => {
  const { folder, clock, disk } = await given()
  const growing = await disk.openSpool(two.digest, undefined)
  await growing.write(0, two.bytes.subarray(0, 10_000))
  const reader = await disk.openBlob(one.digest)
  await rm(folder, { recursive: true })

  await looked(clock, () => disk.counts().blobs === 0 && !disk.isDegraded)

  const into = Buffer.alloc(one.bytes.length)
  expect(await reader?.read(into, 0, into.length)).toBe(into.length)
  expect(into.equals(one.bytes)).toBe(true)
  await reader?.[Symbol.asyncDispose]()
  await expect(growing.write(10_000, two.bytes.subarray(10_000))).rejects.toMatchObject({ name: 'DiskError' })
  expect(await growing.read(into, 0, 10_000)).toBe(10_000)
  await growing.close()
  expect(disk.usedBytes).toBe(0)
  await expectKeeps(folder, disk)
  await disk[Symbol.asyncDispose]()
  await using again = await openDisk(folder)
  expect((await readAll(again, two.digest))?.equals(two.bytes)).toBe(true)
})

test('fault 38: another folder of ours in its place is taken as it is, and the one that went is not missed', async () => {
  const { folder, clock, disk } = await given()
  {
    await using other = await openDisk(`${folder}.other`)
    await fill(other, two)
  }
  await rename(folder, `${folder}.away`)
  await rename(`${folder}.other`, folder)

  await looked(clock, () => disk.find(two.digest) !== undefined)

  expect(disk.find(one.digest)).toBeUndefined()
  expect(disk.usedBytes).toBe(two.bytes.length)
  expect((await readAll(disk, two.digest))?.equals(two.bytes)).toBe(true)
  expect(disk.isDegraded).toBe(false)
  await disk[Symbol.asyncDispose]()
})

test('fault 38: a folder that gives way to another while it is being opened is left for that one', async () => {
  const { folder, clock, disk } = await given()
  await disk[Symbol.asyncDispose]()
  {
    await using other = await openDisk(`${folder}.other`)
    await fill(other, two)
  }

  const opening = openDisk(folder, { outside: { clock, random: () => 0 } })
  renameSync(folder, `${folder}.away`) // its books are open by now, and it is not done
  renameSync(`${folder}.other`, folder)
  const again = await opening
  await looked(clock, () => again.find(two.digest) !== undefined)

  expect(again.find(one.digest)).toBeUndefined()
  expect((await readAll(again, two.digest))?.equals(two.bytes)).toBe(true)
  await again[Symbol.asyncDispose]()
})

test('fault 38: a cap that is lowered while the folder is away or being opened anew holds from then on', async () => {
  const { folder, clock, disk } = await given()
  await rm(folder, { recursive: true })

  disk.setCap({ bytes: 7e6 })
  const before = disk.capBytes
  clock.advance(5_000) // it is being opened anew from here on
  disk.setCap({ bytes: 6e6 })
  await looked(clock, () => disk.counts().blobs === 0 && !disk.isDegraded)

  expect([before, disk.capBytes]).toEqual([7e6, 6e6])
  await disk[Symbol.asyncDispose]()
})

test('fault 38: what is missing while the folder is away is not forgotten, and is there when it is back', async () => {
  const { folder, clock, disk } = await given()
  await rename(folder, `${folder}.away`)
  expect(await disk.openBlob(one.digest)).toBeUndefined()
  expect(await disk.remove(one.digest)).toBe(0)
  expect(disk.isFailing).toBe(true)
  await rename(`${folder}.away`, folder)

  await looked(clock, () => !disk.isDegraded)

  expect(disk.usedBytes).toBe(one.bytes.length)
  expect((await readAll(disk, one.digest))?.equals(one.bytes)).toBe(true)
  expect(disk.isDegraded).toBe(false)
  await disk[Symbol.asyncDispose]()
})

test('fault 38: while another process has the folder that came in its place, the disk fails and keeps nothing', async () => {
  const { folder, clock, disk } = await given()
  const other = await openDisk(`${folder}.other`)
  await rename(folder, `${folder}.away`)
  await rename(`${folder}.other`, folder)

  await looked(clock, () => disk.isFailing)

  expect(await disk.openBlob(one.digest)).toBeUndefined()
  expect(await disk.put(two.digest, two.bytes)).toBe(false)
  await expect(disk.openSpool(two.digest, undefined)).rejects.toMatchObject({ name: 'DiskError' })
  expect(disk.leastRecentlyUsed(10)).toEqual([])
  await other[Symbol.asyncDispose]()
  await looked(clock, () => !disk.isDegraded)
  await expectKeeps(folder, disk)
  await disk[Symbol.asyncDispose]()
})

for (const [when, look] of [
  ['before that was seen', async () => undefined],
  ['after that was seen', ({ clock, disk }) => looked(clock, () => disk.isFailing)],
] as const satisfies readonly (readonly [string, (house: Awaited<ReturnType<typeof given>>) => Promise<void>])[]) {
  test(`fault 38: a disk that is closed while another process has the folder in its place, ${when}, leaves that as it is`, async () => {
    const house = await given()
    const { folder, disk } = house
    await using other = await openDisk(`${folder}.other`)
    await fill(other, two)
    await rename(folder, `${folder}.away`)
    await rename(`${folder}.other`, folder)
    await look(house)
    const before = await readdir(folder)

    await disk[Symbol.asyncDispose]()

    expect(before).toContain('disk.pid')
    expect(await readdir(folder)).toEqual(before)
    await using again = await openDisk(`${folder}.away`)
    expect((await readAll(again, one.digest))?.equals(one.bytes)).toBe(true)
  })
}

test('fault 34: books deleted while running are made anew from the folder, by themselves', async () => {
  const { folder, clock, disk } = await given()
  await rm(join(folder, 'disk.sqlite'))

  await looked(clock, () => disk.find(one.digest) !== undefined && !disk.isDegraded)
  await vi.waitFor(() => stat(join(folder, 'disk.sqlite')))

  expect((await readAll(disk, one.digest))?.equals(one.bytes)).toBe(true)
  expect(disk.counts()).toMatchObject({ blobs: 1, bytes: one.bytes.length })
  await disk[Symbol.asyncDispose]()
})

test('fault 34: books that turn out to be torn while running are made anew from the folder, by themselves', async () => {
  const { folder, clock, disk } = await given()
  const path = join(folder, 'disk.sqlite')
  await disk[Symbol.asyncDispose]()
  const strangers = Array.from({ length: 5_000 }, (_, seed) => digestOf(Buffer.from(`stranger ${seed}`)))
  const books = Books.open(path)
  books.enterFound(
    strangers.map((digest) => ({ digest, sizeBytes: 1, usedMs: 1 })),
    'sure',
  )
  books.close()
  await using again = await openDisk(folder, { outside: { clock, random: () => 0 } })
  await using file = await open(path, 'r+')
  for (let page = 3; page < 100; page += 1) await file.write(Buffer.alloc(4_096, 0xff), 0, 4_096, page * 4_096)
  for (const digest of strangers) again.find(digest)
  expect(again.isFailing).toBe(true)

  await looked(clock, () => !again.isDegraded && again.counts().blobs === 1)

  expect((await readAll(again, one.digest))?.equals(one.bytes)).toBe(true)
  await expectKeeps(folder, again)
})
