import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { open, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A tmpfs of its own for the store (faults.md, tool T). */
export class Volume implements Disposable {
  readonly folder: string
  readonly sizeBytes: number

  /** @throws {Error} a sentence: it wants root, on Linux */
  constructor(sizeBytes: number) {
    this.folder = mkdtempSync(join(tmpdir(), 'millpond-soak-store-'))
    this.sizeBytes = sizeBytes
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', this.folder], { stdio: 'pipe' })
    } catch (error) {
      rmSync(this.folder, { recursive: true, force: true })
      throw new Error('the store could not be put on a tmpfs of its own: run it as root on Linux', { cause: error })
    }
  }

  /** Millpond's own part of it. */
  get store(): string {
    return join(this.folder, 'data')
  }

  /** Takes every byte that is left, but `leaveBytes`. */
  async fill(leaveBytes: number): Promise<void> {
    await using file = await open(join(this.folder, 'ballast'), 'w')
    const piece = Buffer.alloc(256 * 1024)
    try {
      for (;;) await file.write(piece)
    } catch {
      // ENOSPC: that was all of it
    }
    const { size } = await file.stat()
    await file.truncate(Math.max(0, size - leaveBytes))
  }

  async empty(): Promise<void> {
    await rm(join(this.folder, 'ballast'), { force: true })
  }

  /** Flips one bit of a blob's file, picked by `place` and `at` (0 to 1). @returns its name, if there is one */
  async flip(place: number, at: number): Promise<string | undefined> {
    const folder = join(this.store, 'blobs', 'sha256')
    const names = (await readdir(folder).catch(() => [])).sort()
    const name = names[Math.floor(place * names.length)]
    if (name === undefined) return undefined
    try {
      await using file = await open(join(folder, name), 'r+')
      const { size } = await file.stat()
      if (size === 0) return undefined
      const offset = Math.floor(at * size)
      const byte = Buffer.alloc(1)
      await file.read(byte, 0, 1, offset)
      byte[0] = (byte[0] ?? 0) ^ 1
      await file.write(byte, 0, 1, offset)
      return name
    } catch {
      return undefined // it was evicted meanwhile
    }
  }

  [Symbol.dispose](): void {
    execFileSync('umount', ['-l', this.folder])
    rmSync(this.folder, { recursive: true, force: true })
  }
}
