import { lstatSync, readFileSync, renameSync, rmSync } from 'node:fs'
import SqliteDatabase, { type Database } from 'better-sqlite3'
import { codeOf, DiskError } from './disk-error.ts'
import { stampOf, writePlain } from './files.ts'

/** Before it, several connections in WAL could corrupt a database ("WAL-reset bug", sqlite.org/wal.html). */
const VERSION_MIN = [3, 51, 3] as const
const SUFFIXES = ['', '-wal', '-shm', '-journal']
/** Kept in memory of each database: a look-up among a million rows then reads a page or none. */
const CACHE_KIB = 16 * 1024
const WAL_BYTES_MAX = 16 * 1024 * 1024

/** `wasClosed`: nothing has touched it since `closeNoted`, so that what it says of itself as a whole is believed. */
export type OpenedDatabase = { readonly db: Database; readonly wasClosed: boolean }

/**
 * Opens a database that no other connection may have: the file's lock is held until it is closed, or the process ends.
 * One that was not closed by `closeNoted`, or has changed since, is checked page by page.
 * @throws {DiskError} where another has it, or the library is too old
 * @throws the library's error where the file is torn or can't be written
 */
export function openExclusively(path: string): OpenedDatabase {
  const isStranger = lstatSync(path, { throwIfNoEntry: false })?.isFile() === false
  if (isStranger) throw new Error(`${path} is no regular file`) // it may lead anywhere, or never open
  const wasClosed = findStamp(path) !== undefined && findNoted(path) === findStamp(path)
  const db = new SqliteDatabase(path, { timeout: 0 })
  try {
    assertVersion(db)
    db.pragma('locking_mode = EXCLUSIVE')
    db.exec('BEGIN IMMEDIATE; COMMIT') // takes the lock, or says at once that another has it
    rmSync(`${path}.closed`, { force: true, recursive: true })
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = NORMAL')
    db.pragma(`cache_size = -${CACHE_KIB}`)
    db.pragma(`journal_size_limit = ${WAL_BYTES_MAX}`)
    const isWhole = wasClosed || db.pragma('quick_check(1)', { simple: true }) === 'ok'
    if (!isWhole) throw new Error(`${path} is torn`)
    return { db, wasClosed }
  } catch (error) {
    db.close()
    if (!String(codeOf(error)).startsWith('SQLITE_BUSY')) throw error
    throw new DiskError('failed', `${path} is in use by another process`, error)
  }
}

/** Closes a database that is known to be whole, so that the next start need not read all of it to know. */
export function closeNoted(db: Database, path: string): void {
  db.close()
  try {
    writePlain(`${path}.closed`, findStamp(path) ?? '')
  } catch {
    // A full or failing disk: a note that is missing, or cut, only costs the next start a reading.
  }
}

function findStamp(path: string): string | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  return stats && stampOf(stats)
}

function findNoted(path: string): string | undefined {
  try {
    return readFileSync(`${path}.closed`, 'utf8')
  } catch {
    return undefined // a kill, or the first start
  }
}

/** Whether an error of the library says that the file is not what was written to it. */
export function isTorn(thrown: unknown): boolean {
  return /^SQLITE_(?:CORRUPT|NOTADB)/.test(String(codeOf(thrown)))
}

/** Whether it says only that there was no room: what was written before is as it was. */
export function isFull(thrown: unknown): boolean {
  return codeOf(thrown) === 'SQLITE_FULL'
}

/** Moves a database that can't be opened out of the way, with its log; the one set aside before it is replaced. */
export function setSqliteAside(path: string): void {
  for (const suffix of SUFFIXES) {
    rmSync(`${path}.torn${suffix}`, { force: true, recursive: true })
    const isThere = lstatSync(`${path}${suffix}`, { throwIfNoEntry: false }) !== undefined
    if (isThere) renameSync(`${path}${suffix}`, `${path}.torn${suffix}`)
  }
}

function assertVersion(db: Database): void {
  assertRecent(db.prepare<[], { version: string }>('SELECT sqlite_version() AS version').get()?.version ?? '')
}

/** @throws {DiskError} a sentence, where that version of SQLite can't be trusted */
export function assertRecent(version: string): void {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number)
  const [majorMin, minorMin, patchMin] = VERSION_MIN
  const isEnough = major !== majorMin ? major > majorMin : minor !== minorMin ? minor > minorMin : patch >= patchMin
  if (!isEnough) throw new DiskError('failed', `SQLite ${version} is too old: ${VERSION_MIN.join('.')} is needed`)
}
