type Hostile = { readonly path: string; readonly headers?: Readonly<Record<string, string>> }

const DIGEST = `sha256:${'0'.repeat(64)}`

/**
 * What no client of good will asks for (faults 57, 58, 67 to 70, 83). None of it may end in a 5xx of ours, a file or a
 * dial.
 *
 * @param stranger host and port of a server that must not be asked
 */
export const HOSTILE_PATHS = (stranger: string): readonly Hostile[] => [
  { path: '/v2/../../etc/passwd' },
  { path: '/v2/%2e%2e/%2e%2e/etc/passwd/manifests/latest' },
  { path: '/v2/plai%2Fdeep/manifests/latest' },
  { path: '/v2/plai/deep/r0/manifests/..%2f..%2f..%2fetc%2fpasswd' },
  { path: '/v2/plai/deep/r0/manifests/%00' },
  { path: '/v2/plai/deep/r0/manifests/a%0d%0aset-cookie:%20a' },
  { path: '/v2/plai//deep/manifests/latest' },
  { path: `/v2/plai/deep/r0/blobs/${DIGEST.toUpperCase()}` },
  { path: '/v2/plai/deep/r0/blobs/sha256:short' },
  { path: `/v2/plai/deep/r0/blobs/md5:${'0'.repeat(32)}` },
  { path: `/v2/${'a/'.repeat(200)}a/manifests/latest` },
  { path: `/v2/plai/deep/r0/manifests/${'t'.repeat(200)}` },
  { path: '/v2/__proto__/constructor/manifests/prototype' },
  { path: `/v2/team/app/manifests/latest?ns=${stranger}` },
  { path: `/v2/${stranger}/team/app/manifests/latest` },
  { path: '/v2/team/app/manifests/latest?ns=169.254.169.254' },
  { path: '/v2/plai/deep/r0/tags/list?n=1000000000' },
  { path: '/v2/_catalog?n=1000000000' },
  { path: '/v2/', headers: { 'x-forwarded-host': stranger, 'x-forwarded-for': '10.0.0.1', forwarded: 'host=evil' } },
  { path: '/v2/plai/deep/r0/manifests/none', headers: { host: stranger } },
  { path: '/v2/plai/deep/r0/manifests/none', headers: { 'x-long': 'x'.repeat(8_000) } },
  { path: `/v2/plai/deep/r0/blobs/${DIGEST}`, headers: { range: 'bytes=9-1,-0,99999999999999999999-' } },
  { path: `/v2/plai/deep/r0/blobs/${DIGEST}`, headers: { range: `bytes=${'0-,'.repeat(400)}` } },
]
