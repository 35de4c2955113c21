/**
 * `full`: no room, in bytes or inodes; making room may help. `wrong`: a blob's bytes are not those that were kept, and
 * it is set aside; another may bring them. `failed`: everything else.
 */
export type DiskErrorKind = 'full' | 'wrong' | 'failed'

const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'SQLITE_FULL'])
/** Limits of this process or this machine. */
const OURS: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN', 'EBADF'])
/**
 * Of this process or this machine, or of one name at which something lies that is not ours: they say nothing about
 * whether the disk works.
 */
const NOT_OF_DISK: ReadonlySet<unknown> = new Set([...OURS, ...['EEXIST', 'EISDIR', 'ENOTEMPTY', 'ELOOP', 'ENXIO']])

/** What a disk did to us. It never crosses into an answer: a pull goes on without keeping. */
export class DiskError extends Error {
  override readonly name = 'DiskError'
  readonly kind: DiskErrorKind

  constructor(kind: DiskErrorKind, message: string, cause?: unknown) {
    super(message, { cause })
    this.kind = kind
  }

  /** Whether it tells of the disk's own health, rather than of our limits or of how it was asked. */
  get isOfDisk(): boolean {
    return this.cause !== undefined && !NOT_OF_DISK.has(codeOf(this.cause))
  }

  /** Whether a limit of this process or this machine was met: what could not be read may be right. */
  get isOurs(): boolean {
    return OURS.has(codeOf(this.cause))
  }
}

/** Any thrown thing as a DiskError: its own, or by its code. `doing` completes "the disk failed at …". */
export function diskErrorOf(thrown: unknown, doing: string): DiskError {
  if (thrown instanceof DiskError) return thrown
  const kind = FULL.has(codeOf(thrown)) ? 'full' : 'failed'
  return new DiskError(kind, kind === 'full' ? `the disk is full at ${doing}` : `the disk failed at ${doing}`, thrown)
}

/** The code of a system or SQLite error. */
export function codeOf(thrown: unknown): unknown {
  return thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
}
