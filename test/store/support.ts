import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type Outside, systemOutside } from '../../src/base/clock.ts'
import type { Cap } from '../../src/base/config.ts'
import { silentLog } from '../../src/base/log.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { Disk } from '../../src/store/disk.ts'

/** A folder of its own for one test. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-store-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

type Options = { readonly cap?: Cap; readonly outside?: Outside; readonly freeKeptBytes?: number }

export function openDisk(folder: string, options: Options = {}): Promise<Disk> {
  return Disk.open({
    folder,
    cap: { bytes: 1e9 },
    outside: systemOutside,
    log: silentLog,
    freeKeptBytes: 0,
    ...options,
  })
}

export type Content = { readonly digest: Digest; readonly bytes: Buffer }

/** Bytes that no other seed gives. */
export function contentOf(seed: number, sizeBytes: number): Content {
  const bytes = Buffer.alloc(sizeBytes)
  let state = (seed * 2654435761 + 1) >>> 0
  for (let offset = 0; offset < sizeBytes; offset += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[offset] = state >>> 24
  }
  return { bytes, digest: digestOf(bytes) }
}

/** Brings a blob by a spool, as a fill does. */
export async function fill(disk: Disk, { digest, bytes }: Content): Promise<void> {
  await using spool = await disk.openSpool(digest, bytes.length)
  await spool.write(0, bytes)
  await disk.commit(spool)
}

export async function readAll(disk: Disk, digest: Digest): Promise<Buffer | undefined> {
  return await disk.readWhole(digest, 1e9)
}
