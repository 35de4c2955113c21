import type { Outside } from '../base/clock.ts'
import { OciError, ociErrorOf } from '../base/errors.ts'
import { KIB, MIB } from '../base/units.ts'
import type { Asked, BlobOpen } from '../upstream/told.ts'
import type { Failing, Source } from './source.ts'
import type { Sources } from './sources.ts'
import { Turns } from './turns.ts'

/** Less than this from one turn is no progress. */
const PROGRESS_BYTES = 64 * KIB
/**
 * A range without an end is asked for in steps: nothing is under way where another stream takes over then. What is as
 * near as the first waits for it (streams.ts). They grow while no other stream runs.
 */
const STEP_FIRST_BYTES = 8 * MIB

/** What a stream is to bring: the bytes from `offset` up to `end`, both of which move while it runs. */
export interface Gap {
  /** The next byte wanted. */
  readonly offset: number
  /** Where to stop, exclusive; Infinity while the size is unknown. Another stream may take over the rest. */
  readonly end: number
  /** Whether whoever wants these bytes may leave before the end. */
  readonly isOpenEnded: boolean
  /** Whether no other stream of its fill runs. */
  readonly isAlone: boolean
  /** Whether to ask for all of the blob and pass over what is held: no range is to be had. */
  readonly isWhole: boolean
  /** Whether any source has told of the blob yet. */
  readonly isTold: boolean
  /** The blob's, once it is known. */
  readonly sizeBytes: number | undefined
  /**
   * A source answered. Says whether this stream may go on with it.
   * @throws {OciError} upstreamFailed: it says another size
   */
  heard(told: BlobOpen, source: Source): 'go on' | 'give way'
  /** Keeps a piece; what lies beyond `end` is cut off. */
  append(piece: Buffer): Promise<void>
  /** The body ended where upstream told no size: this is the size. */
  endsHere(): void
}

export type StreamEnd =
  | { readonly at: 'closed' }
  | { readonly at: 'gave way' }
  | { readonly at: 'aborted' }
  | { readonly at: 'failed'; readonly why: Failing }

/**
 * Failover and resume: each turn opens a source at the byte where the last one stopped. Never rejects.
 * Whether the bytes are right is told by the whole blob's digest alone.
 */
export async function stream(gap: Gap, sources: Sources, outside: Outside, signal: AbortSignal): Promise<StreamEnd> {
  const turns = new Turns(sources)
  let stepBytes = STEP_FIRST_BYTES
  while (gap.offset < gap.end) {
    const turn = turns.next(gap.isTold)
    if (!turn) return { at: 'failed', why: turns.last ?? { at: 'absent' } }
    await outside.clock.sleep(turn.restMs * outside.random(), signal)
    if (signal.aborted) return { at: 'aborted' }
    const from = gap.offset
    const stepEnd = gap.isOpenEnded ? Math.min(gap.end, from + stepBytes) : gap.end
    const ended = await take(gap, turn.source, stepEnd, signal)
    if (signal.aborted) return { at: 'aborted' }
    if (ended === 'step') stepBytes = gap.isAlone ? stepBytes * 2 : STEP_FIRST_BYTES
    else if (ended === 'gave way') return { at: 'gave way' }
    else turns.failed(ended, gap.offset - from >= PROGRESS_BYTES)
  }
  return { at: 'closed' }
}

/** One turn: a source's answer, as far as `stepEnd` or as it goes. A body that is not read is left at once. */
async function take(
  gap: Gap,
  source: Source,
  stepEnd: number,
  signal: AbortSignal,
): Promise<'step' | 'gave way' | Failing> {
  const turn = new AbortController()
  const abort = () => turn.abort(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    const told = await source.open(askedOf(gap, stepEnd), turn.signal)
    if (told.at !== 'found') return told
    if (gap.heard(told, source) === 'give way') return 'gave way'
    await receive(gap, told, stepEnd, signal)
    if (gap.end === Number.POSITIVE_INFINITY) gap.endsHere()
    if (gap.offset >= Math.min(stepEnd, gap.end)) return 'step'
    return cut('the body of the blob ended early')
  } catch (thrown) {
    return { at: 'error', error: ociErrorOf(thrown) }
  } finally {
    signal.removeEventListener('abort', abort)
    turn.abort()
  }
}

function askedOf(gap: Gap, stepEnd: number): Asked {
  if (gap.isWhole) return { start: 0 }
  const isToTheEnd = stepEnd === Number.POSITIVE_INFINITY || (gap.offset === 0 && stepEnd === gap.sizeBytes)
  return { start: gap.offset, end: isToTheEnd ? undefined : stepEnd }
}

/** Appends what the source sends; a source that has no ranges sends all from the front, which is passed over. */
async function receive(gap: Gap, told: BlobOpen, stepEnd: number, signal: AbortSignal): Promise<void> {
  let passOver = gap.offset - told.start
  for await (const piece of told.pieces) {
    if (signal.aborted || gap.offset >= gap.end) return
    const wanted = passOver > 0 ? piece.subarray(Math.min(passOver, piece.length)) : piece
    passOver -= piece.length - wanted.length
    if (wanted.length > 0) await gap.append(wanted)
    // Leaving a body unread costs its connection: only where another stream took over what this one had asked for.
    if (gap.offset >= gap.end && gap.end < stepEnd) return
  }
}

const cut = (message: string): Failing => ({
  at: 'error',
  error: new OciError('upstreamFailed', message, { fault: 'cut' }),
})
