import picomatch from 'picomatch'
import { configSchema, type TagPolicy } from '../base/config.ts'
import type { RegistryHost, Tag } from '../oci/names.ts'

/** The schema's own defaults: what holds for a tag that no policy matches. */
export const DEFAULT_POLICY: TagPolicy = defaultPolicy()

/** The tag policies of one upstream; the first that matches wins. */
class Policies {
  readonly #rules: readonly { readonly isMatch: (tag: string) => boolean; readonly policy: TagPolicy }[]

  constructor(policies: readonly TagPolicy[]) {
    this.#rules = policies.map((policy) => ({ isMatch: picomatch(policy.match), policy }))
  }

  of(tag: Tag): TagPolicy {
    return this.#rules.find(({ isMatch }) => isMatch(tag))?.policy ?? DEFAULT_POLICY
  }
}

/** The tag policies of every upstream; others may take their place while they are asked. */
export class TagPolicies {
  #byHost: ReadonlyMap<RegistryHost, Policies>

  constructor(rules: Iterable<readonly [RegistryHost, readonly TagPolicy[]]>) {
    this.#byHost = policiesOf(rules)
  }

  replace(rules: Iterable<readonly [RegistryHost, readonly TagPolicy[]]>): void {
    this.#byHost = policiesOf(rules)
  }

  of(host: RegistryHost, tag: Tag): TagPolicy {
    return this.#byHost.get(host)?.of(tag) ?? DEFAULT_POLICY
  }
}

const policiesOf = (rules: Iterable<readonly [RegistryHost, readonly TagPolicy[]]>) =>
  new Map([...rules].map(([host, each]) => [host, new Policies(each)]))

function defaultPolicy(): TagPolicy {
  const { upstreams } = configSchema.parse({ upstreams: { any: { tags: [{}] } } })
  const policy = upstreams['any']?.tags[0]
  if (!policy) throw new Error('the schema gives no default tag policy')
  return policy
}
