import { expect, test } from 'vitest'
import { configSchema } from '../../src/base/config.ts'
import { DEFAULT_POLICY, TagPolicies } from '../../src/cache/policies.ts'
import { findRegistryHost, parseTag } from '../../src/oci/names.ts'

const configured = configSchema.parse({
  upstreams: {
    'registry.test': {
      tags: [
        { match: 'v*', fresh: '1h' },
        { match: 'v1.*', fresh: '2h' },
        { match: 'latest', fresh: '0s', gone: 'serve' },
      ],
    },
  },
}).upstreams['registry.test']
const host = findRegistryHost('registry.test')
if (!host) throw new Error('no host')
const policies = new TagPolicies([[host, configured?.tags ?? []]])

for (const [tag, freshMs, why] of [
  ['v1.2', 3_600_000, 'the first that matches wins, not the closest'],
  ['latest', 0, '0s is a value'],
  ['edge', 300_000, 'no policy matches: the defaults hold'],
  ['1.27', 300_000, 'likewise'],
] as const) {
  test(`the tag ${tag} is fresh for ${freshMs} ms: ${why}`, () => {
    expect(policies.of(host, parseTag(tag)).fresh).toBe(freshMs)
  })
}

test('the defaults are those of the documentation', () => {
  expect(DEFAULT_POLICY).toEqual({
    match: '**',
    fresh: 300_000,
    stale: 60_000,
    staleIfError: 30 * 86_400_000,
    negative: 10_000,
    gone: 'refuse',
  })
})
