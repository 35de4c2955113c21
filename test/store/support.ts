import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type Clock, type Outside, systemOutside } from '../../src/base/clock.ts'
import type { Cap } from '../../src/base/config.ts'
import { silentLog } from '../../src/base/log.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { checksumsOf } from '../../src/store/checksums.ts'
import { Disk } from '../../src/store/disk.ts'
import type { Content } from './content.ts'

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

/** Brings a blob by a spool, as a fill does. */
export async function fill(disk: Disk, { digest, bytes }: Content): Promise<void> {
  await using spool = await disk.openSpool(digest, bytes.length)
  await spool.write(0, bytes)
  await disk.commit(spool, checksumsOf(bytes))
}

/** As a client does, piece by piece. */
export async function readAll(disk: Disk, digest: Digest): Promise<Buffer | undefined> {
  await using blob = await disk.openBlob(digest)
  if (!blob) return undefined
  const bytes = Buffer.alloc(blob.sizeBytes)
  for (let offset = 0; offset < bytes.length; ) {
    offset += await blob.read(bytes.subarray(offset), offset, bytes.length)
  }
  return bytes
}

export type HeldClock = Clock & {
  /** Lets time pass, and what is due happen. */
  advance(ms: number): void
  /** The wall clock alone is set. */
  stepWall(ms: number): void
}

export function heldClock(startMs = 1_700_000_000_000): HeldClock {
  let nowMs = 0
  let wallAheadMs = startMs
  let due: { atMs: number; act: () => void }[] = []
  const after = (ms: number, act: () => void) => {
    const timer = { atMs: nowMs + ms, act }
    due.push(timer)
    return () => {
      due = due.filter((each) => each !== timer)
    }
  }
  return {
    wallMs: () => wallAheadMs + nowMs,
    monotonicMs: () => nowMs,
    sleep: (ms) => new Promise((resolve) => void after(ms, resolve)),
    after,
    advance(ms) {
      const endMs = nowMs + ms
      for (;;) {
        const next = due.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0]
        if (!next) break
        due = due.filter((each) => each !== next)
        nowMs = Math.max(nowMs, next.atMs)
        next.act()
      }
      nowMs = endMs
    },
    stepWall(ms) {
      wallAheadMs += ms
    },
  }
}
