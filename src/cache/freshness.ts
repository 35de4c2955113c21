import type { TagPolicy } from '../base/config.ts'

/** What an answer of some age is worth: `spent` is too old even for an outage (RFC 9111 §4.2, RFC 5861 §3, §4). */
export type Freshness = 'fresh' | 'stale' | 'expired' | 'spent'

type Windows = Pick<TagPolicy, 'fresh' | 'stale' | 'staleIfError'>

export function freshnessOf(ageMs: number, { fresh, stale, staleIfError }: Windows): Freshness {
  if (ageMs < fresh) return 'fresh'
  if (ageMs < fresh + stale) return 'stale'
  return ageMs < fresh + staleIfError ? 'expired' : 'spent'
}

/** By so much at the most a fresh window is longer or shorter than its policy says. */
const JITTER = 0.1

/**
 * The windows of one confirmation. Its fresh one is drawn anew each time, from 0.9 to 1.1 of the policy's: tags that
 * were confirmed together, by a deployment or a restart, are not all asked for together for ever after.
 */
export const spread = <T extends Pick<Windows, 'fresh'>>(windows: T, random: number): T => ({
  ...windows,
  fresh: Math.round(windows.fresh * (1 - JITTER + 2 * JITTER * random)),
})

/** Both clocks at one moment: the wall may step, the monotonic one stands still while the host sleeps. */
export type Instant = { readonly wallMs: number; readonly monotonicMs: number }

/** A confirmation as this process knows it: the age it had when it came to be known here, and when that was. */
export type Anchor = { readonly ageMs: number; readonly at: Instant }

/** What was confirmed this very moment. */
export const anchorNow = (now: Instant): Anchor => ({ ageMs: 0, at: now })

/**
 * A confirmation read back from the index. How old one is that lies in the future, after a step of the wall clock,
 * nobody can tell: upstream is asked, and only where it fails is it worth something.
 */
export const anchorOf = (confirmedMs: number, now: Instant, { fresh, stale }: Pick<Windows, 'fresh' | 'stale'>) => {
  const ageMs = now.wallMs - confirmedMs
  return { ageMs: ageMs < 0 ? fresh + stale : ageMs, at: now } satisfies Anchor
}

/**
 * Milliseconds since the confirmation. The monotonic clock counts. The wall clock may add to it what the host slept,
 * but never more than the fresh and stale windows: a step forward makes us ask again, and no more than that.
 */
export function ageOf({ ageMs, at }: Anchor, now: Instant, { fresh, stale }: Pick<Windows, 'fresh' | 'stale'>): number {
  const wallMs = Math.min(Math.max(0, now.wallMs - at.wallMs), fresh + stale)
  return ageMs + Math.max(now.monotonicMs - at.monotonicMs, wallMs)
}

/** Seconds of freshness left, as Cache-Status tells them: negative for what is stale (RFC 9211 §2.4). */
export const ttlSecondsOf = (ageMs: number, { fresh }: Pick<Windows, 'fresh'>): number =>
  Math.trunc((fresh - ageMs) / 1000)
