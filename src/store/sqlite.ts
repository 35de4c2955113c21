import { join } from 'node:path'
import type { Database } from 'better-sqlite3'
import { Kysely, SqliteDialect } from 'kysely'
import type { Log } from '../base/log.ts'
import { DiskError } from './disk-error.ts'
import type { Index } from './index.ts'
import { queriesOf } from './queries.ts'
import { laterMigrationsIn, migrate, type Tables } from './schema.ts'
import { openExclusively, setSqliteAside } from './sqlite-file.ts'
import { SqliteIndex } from './sqlite-index.ts'
import { statementsOf } from './statements.ts'

/**
 * Opens the embedded index in the disk's folder. One that can't be opened is set aside and begun anew: it is built
 * again as it is used.
 * @throws {DiskError} a sentence, where another process or a later version has it, or nothing can be written there
 */
export async function openSqliteIndex(folder: string, log: Log): Promise<Index> {
  const path = join(folder, 'index.sqlite')
  try {
    return await openAt(path)
  } catch (error) {
    if (error instanceof DiskError) throw error
    log.error({ error, asideAs: `${path}.torn` }, 'the index could not be opened: it is set aside and begun anew')
  }
  try {
    setSqliteAside(path)
    return await openAt(path)
  } catch (error) {
    if (error instanceof DiskError) throw error
    throw new DiskError('failed', `no index can be kept in ${folder}: it can't be written`, error)
  }
}

async function openAt(path: string): Promise<Index> {
  const { db } = openExclusively(path)
  try {
    const kysely = new Kysely<Tables>({ dialect: new SqliteDialect({ database: db }) })
    await migrateInOne(db, kysely, path)
    return new SqliteIndex(db, path, statementsOf(db, queriesOf(kysely)))
  } catch (error) {
    db.close()
    throw error
  }
}

/** All that is to be done in one transaction, with the note that it was done: SQLite's schema is transactional. */
async function migrateInOne(db: Database, kysely: Kysely<Tables>, path: string): Promise<void> {
  db.exec('BEGIN IMMEDIATE')
  try {
    const later = await laterMigrationsIn(kysely)
    if (later.length > 0) {
      const what = `it knows ${later.join(', ')}`
      throw new DiskError(
        'failed',
        `the index ${path} is of a later version of Millpond (${what}): ` +
          'run that one, or move the file away; blobs stay',
      )
    }
    await migrate(kysely)
    db.exec('COMMIT')
  } catch (error) {
    if (db.inTransaction) db.exec('ROLLBACK')
    throw error
  }
}
