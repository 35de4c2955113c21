import type { Clock } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'

/**
 * What `work` gives if it ends within `ms`, else undefined while `work` goes on: its owner is whoever started it, and
 * a failure after that is his.
 *
 * @throws what `work` throws in time, or the reason of `signal` once it aborts
 */
export function within<T>(
  work: Promise<T>,
  ms: number,
  clock: Clock,
  signal?: AbortSignal,
): Promise<{ readonly value: T } | undefined> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      cancel()
      signal?.removeEventListener('abort', abandon)
    }
    const abandon = () => {
      leave()
      reject(signal?.reason)
    }
    const cancel = clock.after(ms, () => {
      leave()
      resolve(undefined)
    })
    signal?.addEventListener('abort', abandon, { once: true })
    work.then((value) => resolve({ value }), reject).finally(leave)
    if (signal?.aborted) abandon()
  })
}

/** An error of one's own for each who waits: none sees what another may add to it, nor keeps another's stack alive. */
export function copyOf(error: OciError): OciError {
  return new OciError(error.reason, error.message, {
    cause: error.cause,
    ...(error.fault !== undefined && { fault: error.fault }),
    ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
    ...(error.upstreamStatus !== undefined && { upstreamStatus: error.upstreamStatus }),
  })
}
