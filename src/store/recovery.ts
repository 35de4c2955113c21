import type { Dirent, Stats } from 'node:fs'
import { lstat, opendir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../base/log.ts'
import { type Algorithm, type Digest, findDigest } from '../oci/digest.ts'
import type { Books, FoundBlob, Trust } from './books.ts'
import { codeOf } from './disk-error.ts'
import { removeFile } from './files.ts'
import { type Folder, findSpoolDigest } from './folder.ts'
import { findNote, type Note } from './note.ts'

const ALGORITHMS: readonly Algorithm[] = ['sha256', 'sha512']
/** Rows a transaction: nobody is served yet. */
const SLICE = 500
const OURS_IN_SPOOLS = /^(?:sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})(?:\.json|\.json\.tmp|\.put)?$/
/** What the probe of disk-health.ts writes. */
export const PROBE = 'probe'

/** A spool that nobody has open. */
export type KeptSpool = { readonly note: Note; readonly keptMs: number }

/** Makes the books say what the folder holds: files without a row are entered, rows without a file dropped. */
export async function reconcile(folder: Folder, books: Books, trust: Trust, nowMs: number, log: Log): Promise<void> {
  const rowsBefore = books.blobs
  let matched = 0
  let found: FoundBlob[] = []
  for await (const digest of blobFilesIn(folder, log)) {
    if (books.find(digest)) {
      matched += 1 // its size is compared when it is opened
      continue
    }
    const { size, mtimeMs } = await lstat(folder.blob(digest))
    found.push({ digest, sizeBytes: size, usedMs: Math.min(mtimeMs, nowMs) })
    if (found.length < SLICE) continue
    books.enterFound(found, trust)
    found = []
  }
  books.enterFound(found, trust)
  const entered = books.blobs - rowsBefore
  if (matched < rowsBefore) await dropRowsWithoutFile(folder, books)
  log.info(
    { entered, dropped: rowsBefore + entered - books.blobs, blobs: books.blobs },
    'the books are as the folder is',
  )
}

async function* blobFilesIn(folder: Folder, log: Log): AsyncIterable<Digest> {
  for (const algorithm of ALGORITHMS) {
    for await (const file of await opendir(folder.blobsOf(algorithm), { bufferSize: 1024 })) {
      const digest = findDigest(`${algorithm}:${file.name}`)
      if (digest && file.isFile()) yield digest
      else log.warn({ name: file.name, folder: algorithm }, 'what is in the blobs folder is no blob: left alone')
    }
  }
}

async function dropRowsWithoutFile(folder: Folder, books: Books): Promise<void> {
  for (const digest of books.digests()) {
    if (!(await findRegular(folder.blob(digest)))) books.drop(digest)
  }
}

/** Finds the spools that can be gone on with, and sweeps what else a killed process left beside them. */
export async function findSpools(folder: Folder, bootId: string, log: Log): Promise<Map<Digest, KeptSpool>> {
  const kept = new Map<Digest, KeptSpool>()
  const entries = await readdir(folder.spools, { withFileTypes: true })
  for (const entry of entries) {
    const digest = entry.isFile() ? findSpoolDigest(entry.name) : undefined
    const spool = digest && (await findKept(folder, digest, bootId))
    if (spool) kept.set(digest, spool)
  }
  for (const entry of entries) await sweep(folder, entry, kept, log)
  return kept
}

async function findKept(folder: Folder, digest: Digest, bootId: string): Promise<KeptSpool | undefined> {
  const note = await findNote(folder.note(digest))
  const stats = await findRegular(folder.spool(digest))
  const heldEnd = note?.held.ranges.at(-1)?.end ?? 0
  if (!note || !stats || note.bootId !== bootId || heldEnd === 0 || stats.size < heldEnd) return undefined
  return { note, keptMs: stats.mtimeMs }
}

async function sweep(folder: Folder, entry: Dirent, kept: ReadonlyMap<Digest, KeptSpool>, log: Log): Promise<void> {
  if (!entry.isFile() || !(OURS_IN_SPOOLS.test(entry.name) || entry.name === PROBE)) {
    log.warn({ name: entry.name }, 'what is in the spools folder is no spool: left alone')
    return
  }
  const digest = findSpoolDigest(entry.name.replace(/\.json$/, ''))
  if (!digest || !kept.has(digest)) await removeFile(join(folder.spools, entry.name))
}

/** Undefined where there is none. @throws the system's error where that can't be told */
export async function findRegular(path: string): Promise<Stats | undefined> {
  try {
    const stats = await lstat(path)
    return stats.isFile() ? stats : undefined
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}
