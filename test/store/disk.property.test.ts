import { readdir, readFile, rename, stat, truncate, unlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hexOf } from '../../src/oci/digest.ts'
import type { Disk } from '../../src/store/disk.ts'
import { DiskError } from '../../src/store/disk-error.ts'
import { type Content, contentOf } from './content.ts'
import { newFolder, openDisk, readAll } from './support.ts'

const CONTENTS = [contentOf(1, 1_100_000), contentOf(2, 40_000), contentOf(3, 500)]
/** What a blob's file is replaced by. */
const FILLING = 1
const ACTS = ['put', 'put', 'read', 'read', 'read', 'remove', 'verify', 'replace', 'truncate', 'unlink'] as const

/** The next act comes after so many turns of the loop, or once all is done. */
type Act = {
  readonly act: (typeof ACTS)[number]
  readonly which: number
  readonly turns: number | 'all'
}

const act: fc.Arbitrary<Act> = fc.record({
  act: fc.constantFrom(...ACTS),
  which: fc.nat(CONTENTS.length - 1),
  turns: fc.oneof(fc.nat(6), fc.nat(60), fc.constant('all' as const)),
})

/** A client that takes a piece a turn: what it gets is right, up to where it is told of something wrong. */
async function readSlowly(disk: Disk, { digest, bytes }: Content): Promise<void> {
  try {
    await using blob = await disk.openBlob(digest)
    const into = Buffer.alloc(150_000)
    for (let offset = 0; blob && offset < bytes.length; ) {
      const length = await blob.read(into, offset, bytes.length)
      if (length === 0 || !into.subarray(0, length).equals(bytes.subarray(offset, offset + length))) {
        expect.fail(`wrong bytes at ${offset}`)
      }
      offset += length
      await turn()
    }
  } catch (error) {
    if (!(error instanceof DiskError)) throw error
  }
}

/** What others do to our files; they may be gone already. */
async function spoil(path: string, how: 'replace' | 'truncate' | 'unlink', sizeBytes: number, at: number) {
  if (how === 'unlink') return await unlink(path)
  if (how === 'truncate') return await truncate(path, sizeBytes >> 1)
  await stat(path)
  await writeFile(`${path}.${at}`, Buffer.alloc(sizeBytes, FILLING))
  await utimes(`${path}.${at}`, at, at) // an inode may be given again within one tick of the clock
  await rename(`${path}.${at}`, path)
}

async function perform(disk: Disk, folder: string, { act: what, which }: Act, at: number): Promise<unknown> {
  const content = CONTENTS[which] ?? expect.fail('no such content')
  const path = join(folder, 'blobs', 'sha256', hexOf(content.digest))
  switch (what) {
    case 'put':
      return await disk.put(content.digest, content.bytes)
    case 'read':
      return await readSlowly(disk, content)
    case 'remove':
      return await disk.remove(content.digest)
    case 'verify':
      return await disk.walk.verify(content.digest)
    default:
      return await spoil(path, what, content.bytes.length, at).catch((error: NodeJS.ErrnoException) => {
        expect(error.code).toBe('ENOENT')
      })
  }
}

/** Without those that a spoiler put where a blob had just been removed: nobody knows of them before the next start. */
async function filesOf(folder: string): Promise<readonly Buffer[]> {
  const blobs = join(folder, 'blobs', 'sha256')
  const files = await Promise.all((await readdir(blobs)).map((name) => readFile(join(blobs, name))))
  return files.filter((file) => !file.equals(Buffer.alloc(file.length, FILLING)))
}

test('whatever is kept, read, evicted, verified and spoilt at once, no wrong byte is read, and the books are right after it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { minLength: 10, maxLength: 40 }), async (acts) => {
      const folder = await newFolder()
      await using disk = await openDisk(folder)
      const done: Promise<unknown>[] = []
      for (const [at, each] of acts.entries()) {
        done.push(perform(disk, folder, each, at))
        if (each.turns === 'all') await Promise.all(done)
        else for (let left = each.turns; left > 0; left--) await turn()
      }
      await Promise.all(done)

      for (const { digest } of CONTENTS) await disk.walk.verify(digest)

      const files = await filesOf(folder)
      const bytes = files.reduce((sum, file) => sum + file.length, 0)
      expect(disk.counts()).toMatchObject({ open: 0, blobs: files.length, bytes, spools: 0 })
      expect(disk.usedBytes).toBe(bytes)
      for (const { digest, bytes: right } of CONTENTS) {
        const held = await readAll(disk, digest)
        expect(held === undefined || held.equals(right)).toBe(true)
      }
    }),
    { numRuns: 25 },
  )
})
