import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { lstat, mkdir, open, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as after } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import SqliteDatabase from 'better-sqlite3'
import { describe, expect, test } from 'vitest'
import { digestOf, hexOf, parseDigest } from '../../src/oci/digest.ts'
import { Books } from '../../src/store/books.ts'
import { type Content, contentOf } from './content.ts'
import { fill, newFolder, openDisk, readAll } from './support.ts'

const blobPath = (folder: string, { digest }: Content) => join(folder, 'blobs', 'sha256', hexOf(digest))

const one = contentOf(1, 100_000)
const two = contentOf(2, 50_000)

/** A folder that was stopped cleanly with two blobs in it. */
/** A file that is not of the folder, alone in its own. */
async function strangerFile(): Promise<string> {
  const path = join(await newFolder(), 'stranger')
  await writeFile(path, 'of another')
  return path
}

async function folderWithBlobs(): Promise<string> {
  const folder = await newFolder()
  await using disk = await openDisk(folder)
  await fill(disk, one)
  await fill(disk, two)
  return folder
}

/** What the books would say had the last run been killed, under this boot of the machine or another. */
function asKilled(folder: string, isOtherBoot: boolean): void {
  const db = new SqliteDatabase(join(folder, 'disk.sqlite'))
  db.exec("UPDATE facts SET value = 'running' WHERE name = 'stop'; UPDATE blobs SET trust = 0")
  if (isOtherBoot) db.exec("UPDATE facts SET value = 'another' WHERE name = 'boot'")
  db.close()
}

describe('fault 34: books that are lost or torn are made again from the folder', () => {
  for (const [how, spoil] of [
    ['deleted', (path: string) => rm(path)],
    ['empty', (path: string) => truncate(path, 0)],
    ['cut', (path: string) => truncate(path, 5_000)],
    ['no database', (path: string) => writeFile(path, Buffer.alloc(50_000, 'x'))],
    ['flipped in a page', flipPages],
    [
      'of a version that never was',
      async (path: string) => new SqliteDatabase(path).exec('PRAGMA user_version = -9').close(),
    ],
  ] as const) {
    test(`${how}: every blob is there and is right, and the next start is a plain one`, async () => {
      const folder = await folderWithBlobs()
      await spoil(join(folder, 'disk.sqlite'))

      for (let start = 0; start < 2; start += 1) {
        await using disk = await openDisk(folder)
        expect(disk.counts()).toMatchObject({ blobs: 2, bytes: 150_000 })
        expect(disk.usedBytes).toBe(150_000)
        expect((await readAll(disk, one.digest))?.equals(one.bytes)).toBe(true)
        expect((await readAll(disk, two.digest))?.equals(two.bytes)).toBe(true)
      }
    })
  }

  test('torn while running: what can’t be told is a miss, and the next start makes them anew', async () => {
    const folder = await folderWithBlobs()
    const path = join(folder, 'disk.sqlite')
    const strangers = Array.from({ length: 5_000 }, (_, seed) => ({
      digest: digestOf(Buffer.from(`stranger ${seed}`)),
      sizeBytes: 1,
      usedMs: 1,
    }))
    const books = Books.open(path)
    books.enterFound(strangers, 'sure')
    books.close()
    {
      await using disk = await openDisk(folder)
      expect(disk.counts().blobs).toBe(5_002)
      await using file = await open(path, 'r+')
      for (let page = 3; page < 100; page += 1) await file.write(Buffer.alloc(4_096, 0xff), 0, 4_096, page * 4_096)

      for (const { digest } of strangers) disk.find(digest)

      expect(disk.isDegraded).toBe(true)
    }

    await using again = await openDisk(folder)

    expect(again.counts()).toMatchObject({ blobs: 2, bytes: 150_000 })
    expect((await readAll(again, one.digest))?.equals(one.bytes)).toBe(true)
  })

  test('a blob whose bytes were wrong when the books were lost is never served', async () => {
    const folder = await folderWithBlobs()
    await rm(join(folder, 'disk.sqlite'))
    await flipByte(blobPath(folder, one), 70_000)

    await using disk = await openDisk(folder)

    expect(await readAll(disk, one.digest)).toBeUndefined()
    expect(disk.find(one.digest)).toBeUndefined()
    expect(disk.counts().quarantined).toBe(1)
    expect(await readAll(disk, two.digest)).toBeDefined()
  })
})

describe('fault 33: what a kill or a power cut leaves', () => {
  test('a blob without a row is entered, a row without its file dropped', async () => {
    const folder = await folderWithBlobs()
    asKilled(folder, false)
    const three = contentOf(3, 7_000)
    await writeFile(blobPath(folder, three), three.bytes)
    await rm(blobPath(folder, one))

    await using disk = await openDisk(folder)

    expect(disk.counts()).toMatchObject({ blobs: 2, bytes: 57_000 })
    expect(disk.usedBytes).toBe(57_000)
    expect((await readAll(disk, three.digest))?.equals(three.bytes)).toBe(true)
    expect(disk.find(one.digest)).toBeUndefined()
  })

  test('a blob of the right size full of zeros is caught after a power cut, by whoever asks first', async () => {
    const folder = await folderWithBlobs()
    asKilled(folder, true)
    await writeFile(blobPath(folder, one), Buffer.alloc(one.bytes.length))

    await using disk = await openDisk(folder)
    const asked = await Promise.all([disk.openBlob(one.digest), disk.openBlob(one.digest), readAll(disk, two.digest)])

    expect(asked.map((each) => each !== undefined)).toEqual([false, false, true])
    expect(disk.counts()).toMatchObject({ blobs: 1, quarantined: 1 })
    expect(disk.usedBytes).toBe(two.bytes.length)
  })

  test('a suspect that was not asked for stays one over the next kill', async () => {
    const folder = await folderWithBlobs()
    asKilled(folder, true)
    await flipByte(blobPath(folder, one), 3)
    await (await openDisk(folder))[Symbol.asyncDispose]()

    await using disk = await openDisk(folder)

    expect(await readAll(disk, one.digest)).toBeUndefined()
  })

  for (const [isOtherBoot, heldBytes, why] of [
    [false, 60_000, 'its bytes outlived the process'],
    [true, 0, 'its bytes were never flushed'],
  ] as const) {
    test(`a spool is ${heldBytes ? 'gone on with' : 'swept'} under ${isOtherBoot ? 'another' : 'the same'} boot: ${why}`, async () => {
      const folder = await newFolder()
      const disk = await openDisk(folder)
      const spool = await disk.openSpool(one.digest, one.bytes.length)
      await spool.write(10_000, one.bytes.subarray(10_000, 70_000))
      await disk[Symbol.asyncDispose]()
      if (isOtherBoot)
        await replaceIn(join(folder, 'spools', `sha256-${hexOf(one.digest)}.json`), /"bootId":"[^"]*"/, '"bootId":"x"')

      await using again = await openDisk(folder)

      expect(again.usedBytes).toBe(heldBytes)
      await using resumed = await again.openSpool(one.digest, one.bytes.length)
      expect(resumed.held.bytes).toBe(heldBytes)
    })
  }

  for (const [end, heldBytes, why] of [
    [60_000, 60_000, 'as long as its note says'],
    [59_999, 0, 'shorter than its note says'],
    [0, 0, 'empty'],
  ] as const) {
    test(`a spool is ${heldBytes ? 'gone on with' : 'swept'} that is ${why}`, async () => {
      const folder = await newFolder()
      {
        await using disk = await openDisk(folder)
        const spool = await disk.openSpool(one.digest, one.bytes.length)
        await spool.write(0, one.bytes.subarray(0, 60_000))
      }
      await truncate(join(folder, 'spools', `sha256-${hexOf(one.digest)}`), end)

      await using again = await openDisk(folder)

      expect(again.usedBytes).toBe(heldBytes)
      await using resumed = await again.openSpool(one.digest, one.bytes.length)
      expect(resumed.held.bytes).toBe(heldBytes)
    })
  }

  for (const [left, why] of [
    [{ '.put': 'half', '.json': '{"held"', '': 'data' }, 'its note is torn'],
    [{ '': 'data' }, 'it has no note'],
    [{ '.json.tmp': '{}', '.json': '{}' }, 'there is only a note'],
  ] as const) {
    test(`fault 35: what a killed fill left is swept, and holds nobody: ${why}`, async () => {
      const folder = await folderWithBlobs()
      for (const [suffix, text] of Object.entries(left)) {
        await writeFile(join(folder, 'spools', `sha256-${hexOf(contentOf(9, 10).digest)}${suffix}`), text)
      }

      await using disk = await openDisk(folder)

      expect(await readdir(join(folder, 'spools'))).toEqual([])
      expect(disk.counts().spools).toBe(0)
      for (const each of [contentOf(9, 10), contentOf(8, 10)]) await fill(disk, each) // neither holds anybody
    })
  }

  test('twenty kills at any moment: what is in blobs hashes to its name, and the next start needs no hand', async () => {
    const folders = await Promise.all([newFolder(), newFolder(), newFolder(), newFolder()])
    await Promise.all(folders.map((folder, lane) => killRepeatedly(folder, lane)))

    let blobs = 0
    for (const folder of folders) {
      await using disk = await openDisk(folder)
      blobs += disk.counts().blobs
      const names = await readdir(join(folder, 'blobs', 'sha256'))
      expect(disk.counts().blobs).toBe(names.length)
      for (const name of names) {
        const digest = parseDigest(`sha256:${name}`)
        const bytes = await readAll(disk, digest)
        expect(bytes && digestOf(bytes)).toBe(digest)
      }
      await expectResumableRight(disk)
    }
    expect(blobs).toBeGreaterThan(0)
  })
})

describe('fault 37: what is no file of ours', () => {
  test('is left alone in the folders, and never read as a blob', async () => {
    const folder = await folderWithBlobs()
    const blobs = join(folder, 'blobs', 'sha256')
    await writeFile(join(folder, 'secret'), two.bytes)
    await rm(blobPath(folder, two))
    await symlink(join(folder, 'secret'), blobPath(folder, two))
    await symlink(join(folder, 'nowhere'), join(blobs, hexOf(contentOf(3, 1).digest)))
    execFileSync('mkfifo', [join(blobs, hexOf(contentOf(4, 1).digest)), join(folder, 'spools', 'fifo')])
    await mkdir(join(blobs, hexOf(contentOf(5, 1).digest)))
    await writeFile(join(blobs, 'README'), 'hello')
    asKilled(folder, false)

    await using disk = await openDisk(folder)

    expect(disk.counts()).toMatchObject({ blobs: 1, spools: 0 })
    expect(disk.find(one.digest)).toBeDefined()
    expect(await disk.openBlob(two.digest)).toBeUndefined()
    expect(await readdir(blobs)).toHaveLength(6)
  })

  for (const [what, plant] of [
    ['a symbolic link', async (path: string) => symlink(await strangerFile(), path)],
    ['a FIFO', async (path: string) => execFileSync('mkfifo', [path])],
    ['a folder', (path: string) => mkdir(path)],
    ['a shorter file', (path: string) => writeFile(path, 'short')],
    ['nothing', async () => undefined],
  ] as const) {
    test(`${what} in a blob’s place while running is a miss, and its bytes are given back`, async () => {
      const folder = await folderWithBlobs()
      await using disk = await openDisk(folder)
      await rm(blobPath(folder, one))
      await plant(blobPath(folder, one))

      expect(await disk.openBlob(one.digest)).toBeUndefined()

      expect(disk.find(one.digest)).toBeUndefined()
      expect(disk.usedBytes).toBe(two.bytes.length)
      expect(disk.isDegraded).toBe(false)
    })
  }

  for (const [what, plant] of [
    ['a symbolic link', (path: string, stranger: string) => symlink(stranger, path)],
    ['a link to nothing', (path: string, stranger: string) => symlink(`${stranger}.absent`, path)],
    ['a FIFO', async (path: string) => execFileSync('mkfifo', [path])],
    ['a folder', (path: string) => mkdir(path)],
  ] as const) {
    test(`${what} in the place of the books, and of each small note, is never followed, and the start is unaided`, async () => {
      const folder = await folderWithBlobs()
      const stranger = await strangerFile()
      for (const name of ['disk.sqlite', 'disk.pid', 'disk.sqlite.closed', 'disk.sqlite.torn']) {
        await rm(join(folder, name), { force: true })
        await plant(join(folder, name), stranger)
      }
      const spool = join(folder, 'spools', `sha256-${hexOf(contentOf(9, 10).digest)}`)
      await writeFile(spool, 'data')
      await plant(`${spool}.json`, stranger)

      await using disk = await openDisk(folder)

      expect(disk.counts()).toMatchObject({ blobs: 2, spools: 0 })
      expect((await readAll(disk, one.digest))?.equals(one.bytes)).toBe(true)
      expect((await lstat(join(folder, 'disk.sqlite'))).isFile()).toBe(true)
      await fill(disk, contentOf(9, 10))
      expect(await readFile(stranger, 'utf8')).toBe('of another')
      expect(await readdir(dirname(stranger))).toEqual([basename(stranger)])
    })
  }

  test('the data folder itself may be a link', async () => {
    const folder = await newFolder()
    await symlink(await newFolder(), join(folder, 'data'))

    await using disk = await openDisk(join(folder, 'data'))

    await fill(disk, one)
    expect((await readAll(disk, one.digest))?.equals(one.bytes)).toBe(true)
  })

  test('a file where a folder should be refuses the start in one sentence', async () => {
    const folder = await newFolder()
    await writeFile(join(folder, 'blobs'), 'x')

    await expect(openDisk(folder)).rejects.toThrow(/^nothing can be kept in .*: the folder .*blobs.* can't be made$/)
  })
})

async function killRepeatedly(folder: string, lane: number): Promise<void> {
  for (let kill = 0; kill < 5; kill += 1) {
    const path = fileURLToPath(new URL('./committer.ts', import.meta.url))
    const child = spawn(process.execPath, [path, folder, String(lane * 5 + kill)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [ready] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
    expect(String(ready)).toBe('ready\n')
    await after(Math.random() * 120)
    child.kill('SIGKILL')
    await once(child, 'close')
    await expectNamesRight(join(folder, 'blobs', 'sha256'))
  }
}

async function expectNamesRight(blobs: string): Promise<void> {
  for (const name of await readdir(blobs)) {
    const bytes = await buffer(createReadStream(join(blobs, name)))
    expect(digestOf(bytes)).toBe(`sha256:${name}`)
  }
}

/** The large spool of committer.ts: what its note says is what it holds. */
async function expectResumableRight(disk: Awaited<ReturnType<typeof openDisk>>): Promise<void> {
  const { digest, bytes } = contentOf(1_000, 24 * 1024 * 1024)
  if (disk.find(digest)) return
  await using spool = await disk.openSpool(digest, bytes.length)
  for (const { start, end } of spool.held.ranges) {
    const held = Buffer.alloc(end - start)
    expect(await spool.read(held, start, end)).toBe(end - start)
    expect(held.equals(bytes.subarray(start, end))).toBe(true)
  }
}

async function flipByte(path: string, offset: number): Promise<void> {
  await using file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, offset)
  await file.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, offset)
}

async function flipPages(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  for (const page of [1, 2, 3, 4]) await file.write(Buffer.alloc(2_000, 0xff), 0, 2_000, page * 4_096)
}

async function replaceIn(path: string, pattern: RegExp, by: string): Promise<void> {
  await writeFile(path, (await readFile(path, 'utf8')).replace(pattern, by))
}
