import type { Clock } from '../base/clock.ts'
import { failureOf, slow } from './failure.ts'

/** Runs `act` under a signal that also ends after `ms`; what takes longer is thrown as upstreamSlow. */
export async function within<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal | undefined,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = new AbortController()
  const stop = () => inner.abort(signal?.reason)
  const cancel = clock.after(ms, () => inner.abort(slow('the upstream did not answer in time')))
  signal?.addEventListener('abort', stop, { once: true })
  if (signal?.aborted) stop()
  try {
    return await act(inner.signal)
  } finally {
    cancel()
    signal?.removeEventListener('abort', stop)
  }
}

/** Waits for what others wait for too: an abort ends this wait alone. */
export async function awaited<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw failureOf(signal.reason, 'sent')
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const stop = () => reject(failureOf(signal.reason, 'sent'))
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await Promise.race([shared, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
