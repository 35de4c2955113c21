/**
 * How an answer came about, in the terms of RFC 9211 (Cache-Status) §2. A hit is not forwarded; what is forwarded says
 * why. `ttlS` is what is left of freshness, negative for a stale answer.
 */
export type CacheFacts = {
  readonly hit: boolean
  readonly fwd?: 'bypass' | 'method' | 'uri-miss' | 'stale' | 'partial'
  readonly fwdStatus?: number
  readonly ttlS?: number
  readonly stored?: boolean
  readonly collapsed?: boolean
  readonly detail?: string
}

export const HIT: CacheFacts = { hit: true }
