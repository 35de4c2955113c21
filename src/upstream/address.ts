import ipaddr from 'ipaddr.js'

/** How far an address reaches. `never` is link-local (cloud metadata lives there), and what is no host's address. */
export type Reach = 'public' | 'private' | 'loopback' | 'never'

/** Metadata services outside the link-local block: AWS over IPv6, Alibaba, Azure. */
const METADATA: ReadonlySet<string> = new Set(['fd00:ec2::254', '100.100.100.200', '168.63.129.16'])

const REACH_OF: Readonly<Record<string, Reach>> = {
  unicast: 'public',
  as112: 'public',
  as112v6: 'public',
  private: 'private',
  uniqueLocal: 'private',
  carrierGradeNat: 'private',
  deprecatedSiteLocal: 'private',
  loopback: 'loopback',
  unspecified: 'loopback', // connecting to 0.0.0.0 or :: leads to this host
}

/** Never dialled, not even where the operator names it. */
export function isLinkLocal(address: string): boolean {
  return ipaddr.isValid(address) && innerOf(address).range() === 'linkLocal'
}

/** Judges an address as it is dialled, with an IPv4 address inside an IPv6 one by what it is (mapped, NAT64, 6to4). */
export function reachOf(address: string): Reach {
  if (!ipaddr.isValid(address)) return 'never'
  const inner = innerOf(address)
  if (METADATA.has(inner.toString())) return 'never'
  return REACH_OF[inner.range()] ?? 'never'
}

function innerOf(address: string): ipaddr.IPv4 | ipaddr.IPv6 {
  const parsed = ipaddr.parse(address)
  return parsed instanceof ipaddr.IPv6 ? embeddedIn(parsed) : parsed
}

function embeddedIn(address: ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  const bytes = address.toByteArray()
  const range = address.range()
  const isLast = range === 'ipv4Mapped' || range === 'rfc6052' || range === 'rfc6145' || isCompatible(bytes)
  if (isLast) return new ipaddr.IPv4(bytes.slice(12))
  return range === '6to4' ? new ipaddr.IPv4(bytes.slice(2, 6)) : address
}

/** ::a.b.c.d (RFC 4291 §2.5.5.1, deprecated), but neither :: nor ::1. */
const isCompatible = (bytes: readonly number[]): boolean =>
  bytes.slice(0, 12).every((byte) => byte === 0) && bytes.slice(12, 14).some((byte) => byte !== 0)
