/*
 * base: what every room stands on.
 *
 * Promises: time, randomness and configuration come from here and from nowhere else; one kind of error crosses rooms.
 * Knows nothing of registries. Read next: clock.ts, config.ts, log.ts.
 */

/** What can go wrong, and its answer: one code (distribution-spec, "Error Codes") may have several statuses. */
const ANSWER_OF = {
  /** Also what isn't HTTP at all. */
  requestInvalid: [400, 'UNSUPPORTED'],
  nameInvalid: [400, 'NAME_INVALID'],
  digestInvalid: [400, 'DIGEST_INVALID'],
  manifestInvalid: [400, 'MANIFEST_INVALID'],
  rangeUnsupported: [400, 'UNSUPPORTED'],
  unauthorized: [401, 'UNAUTHORIZED'],
  denied: [403, 'DENIED'],
  nameUnknown: [404, 'NAME_UNKNOWN'],
  manifestUnknown: [404, 'MANIFEST_UNKNOWN'],
  blobUnknown: [404, 'BLOB_UNKNOWN'],
  notServed: [404, 'UNSUPPORTED'],
  methodUnsupported: [405, 'UNSUPPORTED'],
  /** A request that does not come, or an answer that is not taken. */
  clientSlow: [408, 'UNSUPPORTED'],
  rangeNotSatisfiable: [416, 'UNSUPPORTED'],
  headTooLarge: [431, 'UNSUPPORTED'],
  accountSpent: [429, 'TOOMANYREQUESTS'],
  internal: [500, 'UNKNOWN'],
  upstreamFailed: [502, 'UNAVAILABLE'],
  upstreamResting: [503, 'UNAVAILABLE'],
  tooManyConnections: [503, 'UNAVAILABLE'],
  overloaded: [503, 'UNAVAILABLE'],
  upstreamSlow: [504, 'UNAVAILABLE'],
} as const satisfies Record<string, readonly [number, string]>

export type Reason = keyof typeof ANSWER_OF

/** What clients are refused for, by their own fault or by a limit: the bounded label of `millpond_refused_total`. */
export const REFUSALS: readonly Reason[] = (Object.keys(ANSWER_OF) as Reason[]).filter(
  (reason) => ANSWER_OF[reason][0] < 500 || reason === 'tooManyConnections' || reason === 'overloaded',
)

/** What an upstream, or what it sent, did wrong: the bounded label of `millpond_fill_failures_total`. */
export type Fault =
  | 'address'
  | 'connect'
  | 'cut'
  | 'denied'
  | 'absent'
  | 'digest'
  | 'disk'
  | 'encoding'
  | 'header'
  | 'limited'
  | 'range'
  | 'redirect'
  | 'realm'
  | 'size'
  | 'slow'
  | 'status'
  | 'token'

type Extra = {
  readonly cause?: unknown
  readonly fault?: Fault
  readonly retryAfterMs?: number
  readonly upstreamStatus?: number
}

/** The one error that crosses rooms: `message` is for the client, `cause` for the log alone. */
export class OciError extends Error {
  override readonly name = 'OciError'
  readonly reason: Reason
  readonly fault: Fault | undefined
  /** How long the client is asked to wait; undefined says nothing of it. */
  readonly retryAfterMs: number | undefined
  /** What upstream answered, where that is what went wrong. */
  readonly upstreamStatus: number | undefined

  constructor(reason: Reason, message: string, extra: Extra = {}) {
    super(message, { cause: extra.cause })
    this.reason = reason
    this.fault = extra.fault
    this.retryAfterMs = extra.retryAfterMs
    this.upstreamStatus = extra.upstreamStatus
  }

  /** What a source did wrong when it was asked; none where it limits us and so was not. */
  get metFault(): Fault | undefined {
    return this.fault === 'limited' && this.upstreamStatus === undefined ? undefined : this.fault
  }

  get answer(): readonly [status: number, code: string] {
    return ANSWER_OF[this.reason]
  }
}

/** Any thrown thing as an OciError: its own, or an internal one that keeps it as cause. */
export function ociErrorOf(thrown: unknown): OciError {
  return thrown instanceof OciError ? thrown : new OciError('internal', 'internal error', { cause: thrown })
}
