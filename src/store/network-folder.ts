import { statfsSync } from 'node:fs'
import type { Log } from '../base/log.ts'
import { DiskError } from './disk-error.ts'

/** By the number that statfs(2) gives (linux/magic.h): other machines may write there, and their locks may not hold. */
const NETWORKS: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x5346414f, 'AFS'],
  [0x6b414653, 'AFS'],
])

/** Those that may be a network behind a local face, or hold locks as they should: whoever chose one may know. */
const DOUBTFUL: ReadonlyMap<number, string> = new Map([
  [0x65735546, 'FUSE'],
  [0x01021997, '9p'],
  [0x00c36400, 'Ceph'],
  [0x0bd00bd0, 'Lustre'],
  [0x47504653, 'GPFS'],
])

export const typeOfVolume = (path: string): number => statfsSync(path).type

/**
 * SQLite's locks and flushes mean nothing on a network file system (sqlite.org/howtocorrupt.html, §2.1, §3.1).
 * @throws {DiskError} a sentence that names the remedy
 */
export function refuseNetwork(path: string, type: number, log: Log): void {
  const unsigned = type >>> 0 // some platforms give it with its sign
  const network = NETWORKS.get(unsigned)
  if (network !== undefined) {
    const why = `it is on a network file system (${network}), where SQLite's locks can't be trusted`
    throw new DiskError('failed', `nothing can be kept in ${path}: ${why}: name a folder on a local volume`)
  }
  const doubtful = DOUBTFUL.get(unsigned)
  if (doubtful === undefined) return
  log.warn({ folder: path, type: doubtful }, 'whether locks hold on this kind of file system depends on its mount')
}
