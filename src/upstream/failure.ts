import { type Fault, OciError } from '../base/errors.ts'

/** What the transport says when the other side hung up. */
const HUNG_UP = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'])
const SLOW = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT'])

/** Whether the other side closed or reset the connection, rather than refused or garbled something. */
export const isHangUp = (error: unknown): boolean => HUNG_UP.has(codeOf(error))

/** What this process or machine has none left of: the upstream did nothing. */
const OURS = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'])

/** How far a request had come. */
export type Phase = 'queued' | 'sent' | 'answered'

/** A transport's error as the room's own. */
export function failureOf(error: unknown, phase: Phase): OciError {
  if (error instanceof OciError) return error
  const code = codeOf(error)
  if (OURS.has(code)) return new OciError('overloaded', 'this cache can open no connection now', { cause: error })
  if (SLOW.has(code)) {
    const fault = phase === 'queued' ? 'connect' : 'slow'
    return new OciError('upstreamSlow', 'the upstream did not answer in time', { fault, cause: error })
  }
  const fault = faultOf(code, phase)
  return new OciError('upstreamFailed', MESSAGE_OF[fault] ?? 'the upstream failed', { fault, cause: error })
}

const MESSAGE_OF: Partial<Record<Fault, string>> = {
  connect: 'the upstream cannot be reached',
  cut: 'the upstream cut the connection',
  header: 'the upstream sent what is no proper HTTP',
}

function faultOf(code: string, phase: Phase): Fault {
  if (code.startsWith('HPE_') || code === 'UND_ERR_HEADERS_OVERFLOW') return 'header'
  // Before the head is whole this is two lengths that disagree, not a body that is short.
  if (code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH' && phase !== 'answered') return 'header'
  return phase === 'queued' ? 'connect' : 'cut'
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : ''
}

/** An upstream that hangs, stalls or drips. */
export const slow = (message: string): OciError => new OciError('upstreamSlow', message, { fault: 'slow' })

/** An answer that we can't use. */
export function unusable(fault: Fault, message: string, cause?: unknown): OciError {
  return new OciError('upstreamFailed', message, { fault, cause })
}
