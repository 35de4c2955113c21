import { z } from 'zod'
import { MIB } from '../base/units.ts'
import { OpenFile, READ_ONLY, replaceFile } from './files.ts'
import { type Held, RangeSet } from './ranges.ts'

/** What a spool holds, told beside it, so that a later fill goes on from there. */
export type Note = {
  readonly sizeBytes: number | undefined
  readonly held: RangeSet
  /** The boot under which its bytes were written: not flushed, they outlive the process but not the machine. */
  readonly bootId: string
}

const NOTE_BYTES_MAX = MIB

const schema = z.strictObject({
  sizeBytes: z.int().nonnegative().optional(),
  held: z.array(z.tuple([z.int().nonnegative(), z.int().nonnegative()])),
  bootId: z.string(),
})

/** Undefined where there is no note, or none that makes sense: the spool beside it is worth nothing then. */
export async function findNote(path: string): Promise<Note | undefined> {
  try {
    const bytes = await readSmall(path)
    if (!bytes) return undefined
    const { sizeBytes, held, bootId } = schema.parse(JSON.parse(bytes.toString()))
    return { sizeBytes, held: RangeSet.of(held.map(([start, end]) => ({ start, end }))), bootId }
  } catch {
    return undefined // absent or torn: either way there is nothing to go on from
  }
}

/** Undefined where it is no regular file, or too large for a note. @throws the system's error */
async function readSmall(path: string): Promise<Buffer | undefined> {
  const file = await OpenFile.open(path, READ_ONLY)
  try {
    const stats = await file.stat()
    if (!stats.isFile() || stats.size > NOTE_BYTES_MAX) return undefined
    const bytes = Buffer.alloc(stats.size)
    return bytes.subarray(0, await file.read(bytes, 0, bytes.length))
  } finally {
    await file.close()
  }
}

/** Replaces the note as a whole. */
export async function writeNote(path: string, sizeBytes: number | undefined, held: Held, bootId: string) {
  const ranges = held.ranges.map(({ start, end }) => [start, end])
  await replaceFile(path, Buffer.from(JSON.stringify({ sizeBytes, held: ranges, bootId })))
}
