import { constants, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Outside } from '../base/clock.ts'
import type { Cap } from '../base/config.ts'
import type { Log } from '../base/log.ts'
import type { Algorithm } from '../oci/digest.ts'
import type { Books, Trust } from './books.ts'
import { DiskError, diskErrorOf } from './disk-error.ts'
import { OpenFile } from './files.ts'
import type { Folder } from './folder.ts'
import { bootIdOf, openBooks } from './holder.ts'
import { refuseNetwork, typeOfVolume } from './network-folder.ts'
import { findSpools, reconcile } from './recovery.ts'
import { Room } from './room.ts'
import { Spools } from './spools.ts'
import { Standing } from './standing.ts'
import { makeRoomToStart } from './start-room.ts'

export type DiskOptions = {
  readonly folder: string
  readonly cap: Cap
  readonly log: Log
  readonly outside: Outside
  /** Left out: 1 GiB, or 5 % of a small volume. */
  readonly freeKeptBytes?: number
  /** The kind of file system that a path is on, as statfs(2) numbers them; left out: it is asked. */
  readonly typeOf?: (path: string) => number
}

export type DiskParts = {
  readonly folder: Folder
  readonly books: Books
  readonly room: Room
  readonly spools: Spools
  /** Whether all this is still what the folder's path leads to. */
  readonly standing: Standing
  /** The folders of blobs, open to be flushed: a commit must not fail for want of a descriptor. */
  readonly blobFolders: Readonly<Record<Algorithm, OpenFile>>
}

/** Facts in the books: how the last run ended, and under which boot of the machine. */
const STOP = 'stop'
const BOOT = 'boot'

/** Takes the folder and sets right what the last run left. @throws {DiskError} a sentence for the operator */
export async function openParts(
  folder: Folder,
  options: DiskOptions,
  onError: (error: DiskError) => void,
): Promise<DiskParts> {
  const { log, outside } = options
  makeFolders(folder)
  refuseNetwork(folder.path, (options.typeOf ?? typeOfVolume)(folder.path), log)
  makeRoomToStart(folder, log)
  const { books, isNew } = openBooks(folder, outside.clock.wallMs(), log)
  const standing = standingOf(folder) // in the same turn: what comes in its place from here on is seen
  try {
    const bootId = bootIdOf()
    await settleLastRun(folder, books, isNew, bootId, outside.clock.wallMs(), log)
    const room = new Room({ ...options, clock: outside.clock })
    room.take(books.bytes)
    const kept = await findSpools(folder, bootId, log)
    const spools = new Spools({ folder, room, clock: outside.clock, bootId, kept, onError })
    const blobFolders = { sha256: await openBlobs(folder, 'sha256'), sha512: await openBlobs(folder, 'sha512') }
    return { folder, books, room, spools, blobFolders, standing }
  } catch (thrown) {
    books.close()
    throw diskErrorOf(thrown, `opening ${folder.path}`)
  }
}

/** Closes the books so that the next start believes them. */
export function noteCleanStop(books: Books): void {
  books.moveTrust('new', 'sure')
  books.putFact(STOP, 'clean')
  books.close()
}

function makeFolders(folder: Folder): void {
  for (const path of [folder.blobsOf('sha256'), folder.blobsOf('sha512'), folder.spools, folder.quarantine]) {
    try {
      makeFolder(path)
    } catch (error) {
      throw new DiskError('failed', `nothing can be kept in ${folder.path}: the folder ${path} can't be made`, error)
    }
  }
}

/** Node's own `recursive` tries for ever where a parent is there and takes no folders, such as /proc (M). */
function makeFolder(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
    if (code === 'EEXIST' && statSync(path).isDirectory()) return
    if (code !== 'ENOENT') throw error
    makeFolder(dirname(path))
    mkdirSync(path)
  }
}

const standingOf = (folder: Folder): Standing =>
  new Standing(folder.path, folder.books, folder.spools, folder.blobsOf('sha256'), folder.blobsOf('sha512'))

const openBlobs = (folder: Folder, algorithm: Algorithm): Promise<OpenFile> =>
  OpenFile.open(folder.blobsOf(algorithm), constants.O_RDONLY | constants.O_DIRECTORY)

/**
 * After a kill under the same boot every byte written is there, and a rename came after its blob's bytes. After a power
 * cut a file may have its size and zeros in it, if the medium lied: what was entered since the last clean stop is
 * suspect, as is all that was there when the books were lost.
 */
async function settleLastRun(folder: Folder, books: Books, isNew: boolean, bootId: string, nowMs: number, log: Log) {
  const wasClean = books.findFact(STOP) === 'clean'
  const isSameBoot = books.findFact(BOOT) === bootId
  if (!wasClean && !isNew && !isSameBoot) books.moveTrust('new', 'suspect')
  const trust: Trust = isSameBoot ? 'new' : 'suspect'
  books.putFact(STOP, 'running')
  books.putFact(BOOT, bootId)
  books.flush() // before the first blob: a power cut must not leave books that call themselves cleanly stopped
  if (!wasClean) await reconcile(folder, books, trust, nowMs, log)
}
