import { randomUUID } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import type { Log } from '../base/log.ts'
import { Books } from './books.ts'
import { codeOf, DiskError } from './disk-error.ts'
import type { Folder } from './folder.ts'
import { setSqliteAside } from './sqlite-file.ts'

/** `isNew`: what the folder holds is known to nobody. */
export type OpenedBooks = { readonly books: Books; readonly isNew: boolean }

/**
 * Opens the books, which is taking the folder. Torn ones are set aside and begun anew.
 * @throws {DiskError} where another process has the folder, or nothing can be opened in it
 */
export function openBooks(folder: Folder, log: Log): OpenedBooks {
  const wereThere = isThere(folder.books)
  try {
    const books = openAsHolder(folder)
    if (!wereThere) log.info({ folder: folder.path }, 'the books are begun')
    return { books, isNew: !wereThere }
  } catch (error) {
    if (error instanceof DiskError) throw error
    log.error(
      { error, asideAs: `${folder.books}.torn` },
      'the books could not be opened: they are set aside and made anew',
    )
  }
  try {
    setSqliteAside(folder.books)
    return { books: openAsHolder(folder), isNew: true }
  } catch (error) {
    if (error instanceof DiskError) throw error
    throw new DiskError('failed', `nothing can be kept in ${folder.path}: it can't be written`, error)
  }
}

function openAsHolder(folder: Folder): Books {
  try {
    const books = Books.open(folder.books)
    noteHolder(folder)
    return books
  } catch (error) {
    if (!(error instanceof DiskError) || !String(codeOf(error.cause)).startsWith('SQLITE_BUSY')) throw error
    throw new DiskError('failed', `the folder ${folder.path} is in use by ${holderOf(folder)}`, error)
  }
}

function noteHolder(folder: Folder): void {
  try {
    writeFileSync(folder.holder, `${process.pid}\n`)
  } catch {
    // a full disk: whoever comes second learns less
  }
}

function holderOf(folder: Folder): string {
  try {
    const pid = readFileSync(folder.holder, 'utf8').trim()
    return /^[0-9]+$/.test(pid) ? `process ${pid}` : 'another process'
  } catch {
    return 'another process' // it has just started, or the file was removed
  }
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

/** Tells one run of the machine from the next; where it can't be told, each process is its own. */
export function bootIdOf(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return randomUUID() // not Linux: nothing that was not flushed is trusted after a start
  }
}
