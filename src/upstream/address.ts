import ipaddr from 'ipaddr.js'

/** How far an address reaches. `never` is link-local (cloud metadata lives there), and what is no host's address. */
export type Reach = 'public' | 'private' | 'loopback' | 'never'

/** Metadata services outside the link-local block: AWS over IPv6 (a node's and a pod's), Google's, Alibaba, Azure. */
const METADATA: ReadonlySet<string> = new Set([
  ...['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254'],
  ...['100.100.100.200', '168.63.129.16'],
])

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

/** The further down, the nearer: what may lead to one may lead to those above it. */
const RANK: Readonly<Record<Reach, number>> = { public: 0, private: 1, loopback: 2, never: 3 }

/** Whether `one` is no nearer than `other`. */
export const isWithin = (one: Reach, other: Reach): boolean => RANK[one] <= RANK[other]

/** Never dialled, not even where the operator names it. */
export function isLinkLocal(address: string): boolean {
  return ipaddr.isValid(address) && dialledBy(address).some((each) => each.range() === 'linkLocal')
}

/**
 * Judges an address as it is dialled, with an IPv4 address inside an IPv6 one by what it is (mapped, NAT64, 6to4); of
 * several that may be meant the nearest counts.
 */
export function reachOf(address: string): Reach {
  if (!ipaddr.isValid(address)) return 'never'
  const reaches = dialledBy(address).map(ownReachOf)
  return reaches.reduce((nearest, each) => (isWithin(each, nearest) ? nearest : each))
}

function ownReachOf(address: Address): Reach {
  if (METADATA.has(address.toString())) return 'never'
  if (isLocalNat64(address)) return 'private'
  return REACH_OF[address.range()] ?? 'never'
}

type Address = ipaddr.IPv4 | ipaddr.IPv6

/** What may be reached by dialling it: itself, or the IPv4 address in it. */
function dialledBy(address: string): readonly [Address, ...Address[]] {
  const parsed = ipaddr.parse(address)
  if (!(parsed instanceof ipaddr.IPv6)) return [parsed]
  if (isLocalNat64(parsed)) return [parsed, ...translatedFrom(parsed.toByteArray())]
  return [embeddedIn(parsed) ?? parsed]
}

function embeddedIn(address: ipaddr.IPv6): ipaddr.IPv4 | undefined {
  const bytes = address.toByteArray()
  const range = address.range()
  const isLast = range === 'ipv4Mapped' || range === 'rfc6052' || range === 'rfc6145' || isCompatible(bytes)
  if (isLast) return new ipaddr.IPv4(bytes.slice(12))
  return range === '6to4' ? new ipaddr.IPv4(bytes.slice(2, 6)) : undefined
}

/** ::a.b.c.d (RFC 4291 §2.5.5.1, deprecated), but neither :: nor ::1. */
const isCompatible = (bytes: readonly number[]): boolean =>
  bytes.slice(0, 12).every((byte) => byte === 0) && bytes.slice(12, 14).some((byte) => byte !== 0)

const LOCAL_NAT64 = ipaddr.IPv6.parseCIDR('64:ff9b:1::/48')

/** A prefix for translators of one's own network (RFC 8215). */
const isLocalNat64 = (address: Address): boolean => address instanceof ipaddr.IPv6 && address.match(LOCAL_NAT64)

/**
 * Where a local translator may have the IPv4 address: its own prefix has 48, 56, 64 or 96 bits, and byte 8 is passed
 * over (RFC 6052 §2.2). Places that hold 0.x.x.x are not the one.
 */
function translatedFrom(bytes: readonly number[]): readonly ipaddr.IPv4[] {
  const joined = [...bytes.slice(0, 8), ...bytes.slice(9)]
  const last = bytes.slice(12)
  const places = [joined.slice(6, 10), joined.slice(7, 11), joined.slice(8, 12), last]
  return places.filter(([first]) => first !== 0).map((place) => new ipaddr.IPv4(place))
}
