import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Outside, systemOutside } from '../../src/base/clock.ts'
import type { OciError } from '../../src/base/errors.ts'
import { silentLog } from '../../src/base/log.ts'
import { MIB } from '../../src/base/units.ts'
import type { Fill, FillEnd } from '../../src/cache/fill.ts'
import { Fills } from '../../src/cache/fills.ts'
import type { Keeper } from '../../src/cache/keeping.ts'
import type { Source } from '../../src/cache/source.ts'
import type { Want } from '../../src/cache/streams.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryPath, type RegistryHost } from '../../src/oci/names.ts'
import { Disk } from '../../src/store/disk.ts'
import { Buffers, walk } from '../../src/store/reader.ts'
import type { Asked, BlobTold } from '../../src/upstream/told.ts'

export const FILL_LIMITS = { fills: 64, abandonedFills: 16 }

/** What a source does in one turn; left out, it sends what is asked for. */
export type Act = {
  readonly cutAfter?: number
  readonly error?: OciError
  readonly at?: 'absent' | 'denied'
  readonly flipAt?: number
  readonly ignoresRange?: boolean
  readonly sizeSaid?: number | 'none'
  /** Nothing beyond this many bytes until the promise resolves. */
  readonly holdAfter?: number
  readonly until?: Promise<void>
  /** More than the blob has. */
  readonly surplus?: number
}

/** A source in memory that does what each turn's act says, and counts what it sent. */
export class ScriptedSource implements Source {
  readonly name: string
  readonly asked: Asked[] = []
  sentBytes = 0
  readonly #bytes: Buffer
  readonly #act: (turn: number, asked: Asked) => Act
  readonly #pieceBytes: number

  constructor(name: string, bytes: Buffer, act: (turn: number, asked: Asked) => Act = () => ({}), pieceBytes = MIB) {
    this.name = name
    this.#bytes = bytes
    this.#act = act
    this.#pieceBytes = pieceBytes
  }

  async open(asked: Asked, signal: AbortSignal): Promise<BlobTold> {
    const act = this.#act(this.asked.push(asked) - 1, asked)
    if (act.error) throw act.error
    if (act.at) return { at: act.at }
    const start = act.ignoresRange ? 0 : asked.start
    const end = act.ignoresRange
      ? this.#bytes.length
      : Math.min(asked.end ?? Number.POSITIVE_INFINITY, this.#bytes.length)
    const sizeBytes = act.sizeSaid === 'none' ? undefined : (act.sizeSaid ?? this.#bytes.length)
    const pieces = this.#pieces(act, start, end, signal)
    return { at: 'found', contentType: undefined, isPublic: true, start, sizeBytes, pieces }
  }

  async *#pieces(act: Act, start: number, end: number, signal: AbortSignal): AsyncGenerator<Buffer> {
    const reused = Buffer.alloc(this.#pieceBytes)
    const stop = act.cutAfter === undefined ? end : Math.min(end, start + act.cutAfter)
    for (let offset = start; offset < stop; ) {
      if (act.until && offset - start >= (act.holdAfter ?? 0)) await act.until
      await new Promise((resolve) => setImmediate(resolve))
      if (signal.aborted) return
      const length = this.#bytes.copy(reused, 0, offset, Math.min(stop, offset + this.#pieceBytes))
      const flipped = (act.flipAt ?? -1) - offset
      if (flipped >= 0 && flipped < length) reused[flipped] = (reused[flipped] ?? 0) ^ 1
      this.sentBytes += length
      offset += length
      yield reused.subarray(0, length)
    }
    if (act.surplus) yield Buffer.alloc(act.surplus)
  }
}

/** A disk of its own, and fills that keep there. */
export async function startFills(capBytes = 1024 * MIB, outside: Outside = systemOutside) {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-fills-'))
  const open = () => Disk.open({ folder, cap: { bytes: capBytes }, log: silentLog, outside, freeKeptBytes: 0 })
  let disk = await open()
  const keeper: Keeper = {
    reserve: async (bytes, take) => {
      const fits = disk.shortBytes(bytes) === 0
      if (fits) take()
      return fits
    },
    openSpool: (digest, sizeBytes) => disk.openSpool(digest, sizeBytes),
    commit: (spool, sums) => disk.commit(spool, sums),
    setAside: (spool, why) => disk.setAside(spool, why),
  }
  const ends: FillEnd[] = []
  const make = () => new Fills({ keeper, outside, log: silentLog }, FILL_LIMITS, (end) => ends.push(end))
  let fills = make()
  return {
    folder,
    keeper,
    ends,
    get disk() {
      return disk
    },
    get fills() {
      return fills
    },
    join: (bytes: Buffer, sources: readonly Source[], first: Partial<Want> = {}, isSizeKnown = true) =>
      fills.joinOrStart(digestOf(bytes), () => ({
        repository: { host: 'registry.test' as RegistryHost, path: parseRepositoryPath('library/a') },
        sources,
        sizeBytes: isSizeKnown ? bytes.length : undefined,
        first: { offset: 0, end: Number.POSITIVE_INFINITY, isRange: false, ...first },
      })).fill,
    /** As after a stop and a start. */
    restart: async () => {
      await fills[Symbol.asyncDispose]()
      await disk[Symbol.asyncDispose]()
      disk = await open()
      fills = make()
    },
    held: async (digest: Digest) => await disk.readWhole(digest, 1024 * MIB),
    async [Symbol.asyncDispose]() {
      await fills[Symbol.asyncDispose]()
      await disk[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    },
  }
}

/** What one client got of a fill: its bytes, and how it ended. */
export type Got = { readonly bytes: Buffer; readonly error: unknown }

export const buffers = new Buffers(256 * MIB)

/** Reads a span as a client would; `take` may hold it up or say that it left. */
export async function pull(
  fill: Fill,
  span: { readonly start: number; readonly end: number; readonly isWhole?: boolean },
  take: (piece: Buffer) => Promise<boolean> = async () => true,
): Promise<Got> {
  const reader = fill.enter()
  const got: Buffer[] = []
  try {
    reader.aim({ start: span.start, end: span.end, isWhole: span.isWhole ?? false })
    const client = {
      write: async (piece: Buffer) => {
        got.push(Buffer.from(piece))
        return take(piece)
      },
    }
    await walk(reader, span, client, buffers)
    return { bytes: Buffer.concat(got), error: undefined }
  } catch (error) {
    return { bytes: Buffer.concat(got), error }
  } finally {
    reader.close()
  }
}

export const pullWhole = (fill: Fill, bytes: Buffer, take?: (piece: Buffer) => Promise<boolean>) =>
  pull(fill, { start: 0, end: bytes.length, isWhole: true }, take)
