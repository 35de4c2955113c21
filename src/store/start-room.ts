import { type Dirent, lstatSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import type { Log } from '../base/log.ts'
import { MIB } from '../base/units.ts'
import type { Folder } from './folder.ts'

/** What opening the books may write. */
const FREE_BYTES = MIB

/**
 * On a volume without room the books can't even be opened, and without books nothing is evicted. So before they are,
 * what matters least goes until there is a little: the quarantine, spools, then the oldest blobs. Does nothing on any
 * other volume.
 */
export function makeRoomToStart(folder: Folder, log: Log): void {
  let removed = 0
  for (const each of [folder.quarantine, folder.spools, folder.blobsOf('sha256'), folder.blobsOf('sha512')]) {
    if (hasRoom(folder)) break
    for (const path of filesByAge(each)) {
      rmSync(path, { force: true })
      removed += 1
      if (hasRoom(folder)) break
    }
  }
  if (removed > 0)
    log.warn({ folder: folder.path, removed }, 'the volume was full: files were removed to open the books')
}

function hasRoom({ path }: Folder): boolean {
  const { bavail, bsize } = statfsSync(path)
  return bavail * bsize >= FREE_BYTES
}

/** The oldest first. */
function filesByAge(folder: string): string[] {
  const files = readdirSync(folder, { withFileTypes: true }).filter((entry: Dirent) => entry.isFile())
  const aged = files.map(({ name }) => {
    const path = join(folder, name)
    return { path, mtimeMs: lstatSync(path).mtimeMs }
  })
  return aged.sort((a, b) => a.mtimeMs - b.mtimeMs).map(({ path }) => path)
}
