import { renameSync } from 'node:fs'
import { lstat, mkdir, open, readdir, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { expect, test } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import { openSqliteIndex } from '../../src/store/sqlite.ts'
import { contentOf } from './content.ts'
import { indexSuite, repositoryOf, tagOf } from './index-suite.ts'
import { newFolder } from './support.ts'

indexSuite('sqlite', async () => openSqliteIndex(await newFolder(), silentLog))

const alpine = repositoryOf('docker.io', 'library/alpine')
const { digest } = contentOf(1, 10)

async function folderWithIndex(): Promise<string> {
  const folder = await newFolder()
  await using index = await openSqliteIndex(folder, silentLog)
  await index.putResolution(alpine, tagOf('latest'), digest, 1_000)
  return folder
}

test('fault 37: a link in the place of the index is never followed, and the index is begun anew', async () => {
  const folder = await folderWithIndex()
  await rename(join(folder, 'index.sqlite'), join(folder, 'elsewhere'))
  await symlink(join(folder, 'elsewhere'), join(folder, 'index.sqlite'))

  await using index = await openSqliteIndex(folder, silentLog)

  expect(await index.findResolution(alpine, tagOf('latest'))).toBeUndefined()
  expect((await lstat(join(folder, 'index.sqlite'))).isFile()).toBe(true)
})

test('fault 34: an index deleted while running is opened anew where the disk is, and answers meanwhile', async () => {
  const folder = await folderWithIndex()
  await using index = await openSqliteIndex(folder, silentLog)
  await rm(folder, { recursive: true })

  await index.look()
  expect(await index.findResolution(alpine, tagOf('latest'))).toMatchObject({ digest })
  await mkdir(folder)
  await writeFile(join(folder, 'disk.sqlite'), '')
  await index.look()

  expect(await index.findResolution(alpine, tagOf('latest'))).toBeUndefined()
  await index.putResolution(alpine, tagOf('latest'), digest, 2_000)
  await index[Symbol.asyncDispose]()
  await using again = await openSqliteIndex(folder, silentLog)
  expect(await again.findResolution(alpine, tagOf('latest'))).toMatchObject({ confirmedMs: 2_000 })
})

test('fault 38: an index whose folder gives way to another while it is being opened is opened anew there', async () => {
  const [folder, other] = [await folderWithIndex(), await newFolder()]
  await writeFile(join(other, 'disk.sqlite'), '')

  const opening = openSqliteIndex(folder, silentLog)
  renameSync(folder, `${folder}.away`)
  renameSync(other, folder)
  await using index = await opening
  await index.look()

  expect(await index.findResolution(alpine, tagOf('latest'))).toBeUndefined()
  expect((await lstat(join(folder, 'index.sqlite'))).isFile()).toBe(true)
  await rm(`${folder}.away`, { recursive: true })
})

test('fault 34: an index that turns out to be torn while running is set aside and begun anew', async () => {
  const folder = await folderWithIndex()
  await writeFile(join(folder, 'disk.sqlite'), '')
  await using index = await openSqliteIndex(folder, silentLog)
  await using file = await open(join(folder, 'index.sqlite'), 'r+')
  const { size } = await file.stat()
  await file.write(Buffer.alloc(size - 4_096, 0xff), 0, size - 4_096, 4_096)
  const other = repositoryOf('docker.io', 'library/other')
  await expect(index.putResolution(other, tagOf('latest'), digest, 1_000)).rejects.toThrow()

  await index.look()

  await index.putResolution(other, tagOf('latest'), digest, 2_000)
  expect(await index.findResolution(other, tagOf('latest'))).toMatchObject({ confirmedMs: 2_000 })
  expect(await readdir(folder)).toContain('index.sqlite.torn')
})

test('fault 34: an index that was seen torn is not noted as whole when it is closed', async () => {
  const folder = await folderWithIndex()
  {
    await using index = await openSqliteIndex(folder, silentLog)
    await using file = await open(join(folder, 'index.sqlite'), 'r+')
    const { size } = await file.stat()
    await file.write(Buffer.alloc(size - 4_096, 0xff), 0, size - 4_096, 4_096)
    await expect(index.putResolution(repositoryOf('a.io', 'b'), tagOf('c'), digest, 1)).rejects.toThrow()
  }

  await using index = await openSqliteIndex(folder, silentLog)

  await index.putResolution(alpine, tagOf('latest'), digest, 2_000)
})

test('what was told is there after a restart', async () => {
  const folder = await folderWithIndex()

  await using index = await openSqliteIndex(folder, silentLog)

  expect(await index.findResolution(alpine, tagOf('latest'))).toMatchObject({ digest, confirmedMs: 1_000 })
})

for (const [how, spoil] of [
  ['empty', (path: string) => truncate(path, 0)],
  ['cut in the middle', (path: string) => truncate(path, 10_000)],
  ['no database', (path: string) => writeFile(path, Buffer.alloc(100_000, 'x'))],
  ['torn in its pages', overwritePages],
] as const) {
  test(`fault 34: an index that is ${how} is begun anew and works`, async () => {
    const folder = await folderWithIndex()
    await spoil(join(folder, 'index.sqlite'))

    await using index = await openSqliteIndex(folder, silentLog)

    expect(await index.findResolution(alpine, tagOf('latest'))).toBeUndefined()
    await index.putResolution(alpine, tagOf('latest'), digest, 2_000)
    expect(await index.findResolution(alpine, tagOf('latest'))).toMatchObject({ confirmedMs: 2_000 })
  })
}

test('a second index on one folder is refused at once', async () => {
  const folder = await newFolder()
  await using _index = await openSqliteIndex(folder, silentLog)

  await expect(openSqliteIndex(folder, silentLog)).rejects.toThrow(/index\.sqlite is in use by another process$/)
})

test('an index of a later version is refused in one sentence and left as it is', async () => {
  const folder = await folderWithIndex()
  const db = new SqliteDatabase(join(folder, 'index.sqlite'))
  db.prepare('INSERT INTO kysely_migration (name, timestamp) VALUES (?, ?)').run('900-later', new Date(0).toISOString())
  db.close()

  await expect(openSqliteIndex(folder, silentLog)).rejects.toThrow(
    /later version of Millpond .*900-later.*: run that one/,
  )

  expect((await readdir(folder)).filter((name) => name.includes('torn'))).toEqual([])
})

async function overwritePages(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  for (let page = 1; page < 8; page += 1) await file.write(Buffer.alloc(4_000, 'x'), 0, 4_000, page * 4_096)
}

test('fault 90: of all repositories together the listings put last are kept, so many and no more', async () => {
  await using index = await openSqliteIndex(await newFolder(), silentLog)
  const listing = { bytes: Buffer.from('{}'), contentType: 'a/b', link: undefined, filters: undefined, confirmedMs: 1 }
  const repositories = Array.from({ length: 10_001 }, (_, place) => repositoryOf('docker.io', `library/r${place}`))
  for (const repository of repositories) await index.putListing(repository, 'tags', listing)

  const places = [0, 1, 10_000]
  const found = await Promise.all(places.map((place) => index.findListing(repositories[place] ?? alpine, 'tags')))

  expect(found.map((each) => each !== undefined)).toEqual([false, true, true])
})
