import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import SqliteDatabase from 'better-sqlite3'
import type { Kysely } from 'kysely'
import { expect, test } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import { hexOf } from '../../src/oci/digest.ts'
import { MIGRATIONS } from '../../src/store/schema.ts'
import { openSqliteIndex } from '../../src/store/sqlite.ts'
import { contentOf } from './content.ts'
import { repositoryOf, tagOf } from './index-suite.ts'
import { fill, newFolder, openDisk, readAll } from './support.ts'

const one = contentOf(1, 100_000)
const two = contentOf(2, 50_000)
const alpine = repositoryOf('docker.io', 'library/alpine')

/** The books as the first version wrote them. */
const BOOKS_V1 = `
  CREATE TABLE blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, used INTEGER NOT NULL, trust INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX blobs_by_use ON blobs (used, digest);
  CREATE INDEX blobs_unsure ON blobs (trust) WHERE trust < 2;
  CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  INSERT INTO facts VALUES ('stop', 'clean'), ('boot', 'long-ago'), ('totals', '2 150000');
  PRAGMA user_version = 1;
`

async function folderOfV1(): Promise<string> {
  const folder = await newFolder()
  const blobs = join(folder, 'blobs', 'sha256')
  await mkdir(blobs, { recursive: true })
  const db = new SqliteDatabase(join(folder, 'disk.sqlite'))
  db.exec(BOOKS_V1)
  for (const [at, { digest, bytes }] of [one, two].entries()) {
    await writeFile(join(blobs, hexOf(digest)), bytes)
    db.prepare('INSERT INTO blobs VALUES (?, ?, ?, 2)').run(digest, bytes.length, 1_000 + at)
  }
  db.close()
  await using index = await openSqliteIndex(folder, silentLog)
  await index.putResolution(alpine, tagOf('latest'), one.digest, 1_000)
  return folder
}

/** A migration that a later version will have. */
const NEXT = {
  ...MIGRATIONS,
  '002-next': {
    up: async (db: Kysely<never>) => {
      await db.schema.createTable('added').addColumn('name', 'text').execute()
    },
  },
}

const tablesOf = (path: string): readonly unknown[] => {
  const db = new SqliteDatabase(path)
  try {
    return db.prepare("SELECT name FROM sqlite_master WHERE type IN ('table', 'trigger')").pluck().all()
  } finally {
    db.close()
  }
}

const versionOf = (path: string): unknown => {
  const db = new SqliteDatabase(path)
  try {
    return db.pragma('user_version', { simple: true })
  } finally {
    db.close()
  }
}

async function killMidway(what: 'books' | 'index', folder: string): Promise<void> {
  const path = fileURLToPath(new URL('./half-migrated.ts', import.meta.url))
  const child = spawn(process.execPath, [path, what, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
  expect(String(said)).toBe('midway\n')
  child.kill('SIGKILL')
  await once(child, 'close')
}

async function expectAllThere(folder: string): Promise<void> {
  await using disk = await openDisk(folder)
  expect(disk.counts()).toMatchObject({ blobs: 2, bytes: 150_000 })
  expect(disk.leastRecentlyUsed(2).map(({ usedMs }) => usedMs)).toEqual([1_000, 1_001])
  for (const { digest, bytes } of [one, two]) expect((await readAll(disk, digest))?.equals(bytes)).toBe(true)
  await using index = await openSqliteIndex(folder, silentLog)
  expect(await index.findResolution(alpine, tagOf('latest'))).toMatchObject({ digest: one.digest })
}

test('fault 86: a folder of the first version is gone on with, with all that it knows', async () => {
  const folder = await folderOfV1()

  await expectAllThere(folder)

  expect(versionOf(join(folder, 'disk.sqlite'))).toBeGreaterThan(1)
  expect((await readdir(folder)).filter((name) => name.includes('torn'))).toEqual([])
})

test('fault 86: killed in the midst of the books’ migration they are the old ones, and the next start brings them forward', async () => {
  const folder = await folderOfV1()

  await killMidway('books', folder)

  expect(versionOf(join(folder, 'disk.sqlite'))).toBe(1)
  expect(tablesOf(join(folder, 'disk.sqlite')).toSorted()).toEqual(['blobs', 'facts'])
  await expectAllThere(folder)
})

test('fault 86: killed in the midst of the index’s migration it is the old one, which any version goes on with', async () => {
  const folder = await folderOfV1()

  await killMidway('index', folder)

  expect(tablesOf(join(folder, 'index.sqlite'))).not.toContain('added')
  await expectAllThere(folder)
  await using index = await openSqliteIndex(folder, silentLog, NEXT)
  expect(await index.findResolution(alpine, tagOf('latest'))).toMatchObject({ digest: one.digest })
})

test('fault 86: a migration that finds no room is refused in a sentence, and nothing is set aside', async () => {
  const folder = await folderOfV1()
  const full = () => Promise.reject(Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' }))

  await expect(openSqliteIndex(folder, silentLog, { ...MIGRATIONS, '002-next': { up: full } })).rejects.toMatchObject({
    name: 'DiskError',
    kind: 'full',
  })

  expect((await readdir(folder)).filter((name) => name.includes('torn'))).toEqual([])
  await expectAllThere(folder)
})

for (const [file, spoil, said] of [
  [
    'index.sqlite',
    async (folder: string) => (await openSqliteIndex(folder, silentLog, NEXT))[Symbol.asyncDispose](),
    /^the index .*index\.sqlite is of a later version of Millpond \(it knows 002-next\): run that one, or move the file away; blobs stay$/,
  ],
  [
    'disk.sqlite',
    async (folder: string) =>
      void new SqliteDatabase(join(folder, 'disk.sqlite')).exec('PRAGMA user_version = 99').close(),
    /^the books .*disk\.sqlite are of a later version of Millpond \(.*99.*\): run that one, or move the file away; blobs stay$/,
  ],
] as const) {
  test(`fault 86: ${file} of a later version is refused in one sentence; neither it nor a blob is touched`, async () => {
    const folder = await folderOfV1()
    await spoil(folder)
    const opened = async () => {
      await using _disk = await openDisk(folder)
      await using _index = await openSqliteIndex(folder, silentLog)
    }

    for (let start = 0; start < 2; start += 1) await expect(opened()).rejects.toThrow(said)

    for (const { digest, bytes } of [one, two]) {
      expect((await readFile(join(folder, 'blobs', 'sha256', hexOf(digest)))).equals(bytes)).toBe(true)
    }
    expect((await readdir(folder)).filter((name) => name.includes('torn'))).toEqual([])
  })
}

test('fault 87: while one version has the folder another is refused, and changes nothing', async () => {
  const folder = await folderOfV1()
  await using disk = await openDisk(folder)
  await using index = await openSqliteIndex(folder, silentLog)

  await expect(openDisk(folder)).rejects.toThrow(/is in use by process/)
  await expect(openSqliteIndex(folder, silentLog, NEXT)).rejects.toThrow(/is in use by another process/)

  await fill(disk, contentOf(3, 1_000))
  expect(await index.findResolution(alpine, tagOf('latest'))).toMatchObject({ digest: one.digest })
})
