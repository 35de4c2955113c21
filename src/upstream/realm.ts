import { getDomain } from 'tldts'
import { unusable } from './failure.ts'

/** A realm that may be asked, and whether as an account. */
export type Realm = { readonly url: URL; readonly mayHaveAccount: boolean }

/** Who challenged, and what the operator said of it. */
type Challenger = {
  readonly url: URL
  /** It is the endpoint that the account is for, not where a redirect led. */
  readonly isEndpoint: boolean
  /** Realms on other hosts that were configured for it. */
  readonly realms: readonly string[]
}

/**
 * Judges the realm that a challenge names. An account goes to the endpoint's own host, its registrable domain, and to
 * configured realms alone (CVE-2026-33540); a token never travels in the clear unless the challenger does. Where a
 * redirect led, only a realm of its own may be named: else it could have us fetch, and bring to it, what another's
 * server gives to whoever asks from where we stand.
 *
 * @throws {OciError} upstreamFailed, `realm`: no web address, http behind https, or another's
 */
export function realmOf(text: string, { url: from, isEndpoint, realms }: Challenger): Realm {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw unusable('realm', 'the upstream sends us to a token realm that is no web address')
  }
  if (url.protocol === 'http:' && from.protocol !== 'http:') {
    throw unusable('realm', 'the upstream sends us to a token realm without TLS')
  }
  url.username = ''
  url.password = ''
  url.hash = ''
  const isOwn = isOfSameOwner(url, from)
  if (!isEndpoint && !isOwn) throw unusable('realm', "where the upstream redirects to names another's token realm")
  return { url, mayHaveAccount: isEndpoint && (isOwn || isListed(url, realms)) }
}

/** Whether the operator named the realm: as a host, with its port if that isn't the scheme's, or as a URL. */
export function isListed(url: URL, realms: readonly string[]): boolean {
  return realms.some((realm) => {
    if (!realm.includes('://')) return realm.toLowerCase() === url.host
    return URL.canParse(realm) && new URL(realm).origin === url.origin
  })
}

/** The public suffix list's private section counts: two tenants of one hoster are strangers. */
function isOfSameOwner(one: URL, other: URL): boolean {
  if (one.hostname === other.hostname) return true
  const domain = getDomain(one.hostname, { allowPrivateDomains: true })
  return domain !== null && domain === getDomain(other.hostname, { allowPrivateDomains: true })
}
