import { randomUUID } from 'node:crypto'
import { lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { z } from 'zod'
import type { Log } from '../base/log.ts'
import { Books } from './books.ts'
import { codeOf, DiskError, diskErrorOf } from './disk-error.ts'
import { writePlain } from './files.ts'
import type { Folder } from './folder.ts'
import { isFull, setSqliteAside } from './sqlite-file.ts'

/** `isNew`: what the folder holds is known to nobody. */
export type OpenedBooks = { readonly books: Books; readonly isNew: boolean }

/**
 * Opens the books, which is taking the folder. Torn ones are set aside and begun anew.
 * @throws {DiskError} where another process has the folder, or nothing can be opened in it
 */
export function openBooks(folder: Folder, nowMs: number, log: Log): OpenedBooks {
  const wereThere = lstatSync(folder.books, { throwIfNoEntry: false }) !== undefined
  try {
    const books = openAsHolder(folder, nowMs)
    if (!wereThere) log.info({ folder: folder.path }, 'the books are begun')
    return { books, isNew: !wereThere }
  } catch (error) {
    if (error instanceof DiskError || isFull(error)) throw diskErrorOf(error, `opening ${folder.books}`)
    log.error(
      { error, asideAs: `${folder.books}.torn` },
      'the books could not be opened: they are set aside and made anew',
    )
  }
  try {
    setSqliteAside(folder.books)
    return { books: openAsHolder(folder, nowMs), isNew: true }
  } catch (error) {
    if (error instanceof DiskError) throw error
    throw new DiskError('failed', `nothing can be kept in ${folder.path}: it can't be written`, error)
  }
}

function openAsHolder(folder: Folder, nowMs: number): Books {
  try {
    const books = Books.open(folder.books)
    noteHolder(folder, nowMs)
    return books
  } catch (error) {
    if (!(error instanceof DiskError) || !String(codeOf(error.cause)).startsWith('SQLITE_BUSY')) throw error
    throw new DiskError('failed', `the folder ${folder.path} is in use by ${holderOf(folder)}`, error)
  }
}

const holderSchema = z.object({ pid: z.int().positive(), since: z.iso.datetime(), space: z.string(), host: z.string() })

function noteHolder(folder: Folder, nowMs: number): void {
  const since = new Date(nowMs).toISOString()
  try {
    writePlain(
      folder.holder,
      `${JSON.stringify({ pid: process.pid, since, space: processSpace(), host: hostname() })}\n`,
    )
  } catch {
    // a full disk, or something else by that name: whoever comes second learns less
  }
}

/** As far as the note beside the books can be believed: the lock itself doesn't tell whose it is. */
function holderOf(folder: Folder): string {
  try {
    const { pid, since, space, host } = holderSchema.parse(JSON.parse(readFileSync(folder.holder, 'utf8')))
    if (space !== processSpace()) return `process ${pid} of another container or machine (${host}), since ${since}`
    return isAlive(pid) ? `process ${pid}, since ${since}` : 'another process'
  } catch {
    return 'another process' // it has just started, or the file was removed
  }
}

/** Numbers of processes mean something only among those that share it; where it can't be told, on one machine. */
function processSpace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return hostname() // not Linux
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === 'EPERM' // it is there, and another user's
  }
}

/** Tells one run of the machine from the next; where it can't be told, each process is its own. */
export function bootIdOf(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return randomUUID() // not Linux: nothing that was not flushed is trusted after a start
  }
}
