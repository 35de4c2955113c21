import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Database } from 'better-sqlite3'
import { Kysely, SqliteDialect } from 'kysely'
import type { Migration } from 'kysely/migration'
import type { Log } from '../base/log.ts'
import { DiskError, diskErrorOf } from './disk-error.ts'
import { Folder } from './folder.ts'
import { queriesOf } from './queries.ts'
import { laterMigrationsIn, MIGRATIONS, migrate, type Tables } from './schema.ts'
import { isFull, isTorn, openExclusively, setSqliteAside } from './sqlite-file.ts'
import { type OpenedIndex, SqliteIndex } from './sqlite-index.ts'
import { Standing } from './standing.ts'
import { statementsOf } from './statements.ts'

type Migrations = Readonly<Record<string, Migration>>

/**
 * Opens the embedded index in the disk's folder. One that can't be opened is set aside and begun anew: it is built
 * again as it is used.
 * @param migrations in the order of their names; left out: all that this version knows
 * @throws {DiskError} a sentence, where another process or a later version has it, or nothing can be written there
 */
export async function openSqliteIndex(folder: string, log: Log, migrations = MIGRATIONS): Promise<SqliteIndex> {
  const open = () => openOrBegin(folder, log, migrations)
  const mayOpenAnew = () => existsSync(new Folder(folder).books) // the disk has taken what the path leads to
  return new SqliteIndex(await open(), { open, mayOpenAnew, log })
}

async function openOrBegin(folder: string, log: Log, migrations: Migrations): Promise<OpenedIndex> {
  const path = join(folder, 'index.sqlite')
  try {
    return await openAt(path, migrations)
  } catch (error) {
    if (error instanceof DiskError || isFull(error)) throw diskErrorOf(error, `opening ${path}`)
    log.error({ error, asideAs: `${path}.torn` }, 'the index could not be opened: it is set aside and begun anew')
  }
  try {
    setSqliteAside(path)
    return await openAt(path, migrations)
  } catch (error) {
    if (error instanceof DiskError) throw error
    throw new DiskError('failed', `no index can be kept in ${folder}: it can't be written`, error)
  }
}

async function openAt(path: string, migrations: Migrations): Promise<OpenedIndex> {
  const { db } = openExclusively(path)
  const standing = new Standing(path) // in the same turn: what comes in its place from here on is seen
  try {
    const kysely = new Kysely<Tables>({ dialect: new SqliteDialect({ database: db }) })
    await migrateInOne(db, kysely, path, migrations)
    const told = { isTorn: false }
    const onError = (thrown: unknown) => {
      if (isTorn(thrown)) told.isTorn = true
    }
    const ask = statementsOf({ db, onError }, queriesOf(kysely))
    return { db, path, ask, told, standing }
  } catch (error) {
    db.close()
    throw error
  }
}

/** All that is to be done in one transaction, with the note that it was done: SQLite's schema is transactional. */
async function migrateInOne(db: Database, kysely: Kysely<Tables>, path: string, migrations: Migrations): Promise<void> {
  db.exec('BEGIN IMMEDIATE')
  try {
    const later = await laterMigrationsIn(kysely, migrations)
    if (later.length > 0) {
      const what = `it knows ${later.join(', ')}`
      throw new DiskError(
        'failed',
        `the index ${path} is of a later version of Millpond (${what}): ` +
          'run that one, or move the file away; blobs stay',
      )
    }
    await migrate(kysely, migrations)
    db.exec('COMMIT')
  } catch (error) {
    if (db.inTransaction) db.exec('ROLLBACK')
    throw error
  }
}
