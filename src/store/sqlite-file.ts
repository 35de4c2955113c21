import { renameSync, rmSync, statSync } from 'node:fs'
import SqliteDatabase, { type Database } from 'better-sqlite3'
import { codeOf, DiskError } from './disk-error.ts'

/** Before it, several connections in WAL could corrupt a database ("WAL-reset bug", sqlite.org/wal.html). */
const VERSION_MIN = [3, 51, 3] as const
const SUFFIXES = ['', '-wal', '-shm', '-journal']
const WAL_BYTES_MAX = 16 * 1024 * 1024

/**
 * Opens a database that no other connection may have: the file's lock is held until it is closed, or the process ends.
 * @throws {DiskError} where another has it, or the library is too old
 * @throws the library's error where the file is torn or can't be written
 */
export function openExclusively(path: string): Database {
  const db = new SqliteDatabase(path, { timeout: 0 })
  try {
    assertVersion(db)
    db.pragma('locking_mode = EXCLUSIVE')
    db.exec('BEGIN IMMEDIATE; COMMIT') // takes the lock, or says at once that another has it
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = NORMAL')
    db.pragma(`journal_size_limit = ${WAL_BYTES_MAX}`)
    if (db.pragma('quick_check(1)', { simple: true }) !== 'ok') throw new Error(`${path} is torn`)
    return db
  } catch (error) {
    db.close()
    if (!String(codeOf(error)).startsWith('SQLITE_BUSY')) throw error
    throw new DiskError('failed', `${path} is in use by another process`, error)
  }
}

/** Moves a database that can't be opened out of the way, with its log; the one set aside before it is replaced. */
export function setSqliteAside(path: string): void {
  for (const suffix of SUFFIXES) {
    rmSync(`${path}.torn${suffix}`, { force: true })
    const isThere = statSync(`${path}${suffix}`, { throwIfNoEntry: false }) !== undefined
    if (isThere) renameSync(`${path}${suffix}`, `${path}.torn${suffix}`)
  }
}

function assertVersion(db: Database): void {
  const row = db.prepare<[], { version: string }>('SELECT sqlite_version() AS version').get()
  const [major = 0, minor = 0, patch = 0] = (row?.version ?? '').split('.').map(Number)
  const [majorMin, minorMin, patchMin] = VERSION_MIN
  const isEnough = major !== majorMin ? major > majorMin : minor !== minorMin ? minor > minorMin : patch >= patchMin
  if (!isEnough) throw new DiskError('failed', `SQLite ${row?.version} is too old: ${VERSION_MIN.join('.')} is needed`)
}
