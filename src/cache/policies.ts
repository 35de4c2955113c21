import picomatch from 'picomatch'
import { configSchema, type TagPolicy } from '../base/config.ts'
import type { Tag } from '../oci/names.ts'

/** The schema's own defaults: what holds for a tag that no policy matches. */
export const DEFAULT_POLICY: TagPolicy = defaultPolicy()

/** The tag policies of one upstream; the first that matches wins. */
export class Policies {
  readonly #rules: readonly { readonly isMatch: (tag: string) => boolean; readonly policy: TagPolicy }[]

  constructor(policies: readonly TagPolicy[]) {
    this.#rules = policies.map((policy) => ({ isMatch: picomatch(policy.match), policy }))
  }

  of(tag: Tag): TagPolicy {
    return this.#rules.find(({ isMatch }) => isMatch(tag))?.policy ?? DEFAULT_POLICY
  }
}

function defaultPolicy(): TagPolicy {
  const { upstreams } = configSchema.parse({ upstreams: { any: { tags: [{}] } } })
  const policy = upstreams['any']?.tags[0]
  if (!policy) throw new Error('the schema gives no default tag policy')
  return policy
}
