import { type Config, Secret, type UpstreamConfig } from './config.ts'
import { pathText } from './config-trouble.ts'
import { upstreamsOf } from './config-upstreams.ts'

/** What a running server takes over when its configuration is read again; all else needs a restart. */
export const RELOADED = [
  'disk.cap',
  'log.level',
  'tls.cert',
  'tls.key',
  'upstreams.*.tags',
  'upstreams.*.allow',
  'upstreams.*.deny',
  'upstreams.*.pin',
] as const

/** `waiting`: the keys that have changed and need a restart, by their paths. */
export type Reloaded = { readonly config: Config; readonly waiting: readonly string[] }

/** What runs, with as much of what is wanted as can be taken over. */
export function reloadedOf(running: Config, wanted: Config): Reloaded {
  const before = plainOf(running)
  const after = plainOf(wanted)
  const changed = changedIn(before, after, [])
  const upstreams = Object.entries(before.upstreams).map(([name, old]) => [name, rulesOf(old, after.upstreams[name])])
  const config: Config = {
    ...running,
    disk: { ...running.disk, cap: wanted.disk.cap },
    log: { ...running.log, level: wanted.log.level },
    tls: running.tls && (wanted.tls ?? running.tls),
    upstreams: Object.fromEntries(upstreams),
    wellKnown: running.wellKnown,
  }
  return { config, waiting: changed.filter((path) => !isReloaded(path)).map(pathText) }
}

const rulesOf = (old: UpstreamConfig, { tags, allow, deny, pin }: UpstreamConfig = old): UpstreamConfig => ({
  ...old,
  ...{ tags, allow, deny, pin },
})

/**
 * With every upstream that is served: the well-known ones may have rules in one and not in the other. What is in a
 * password file is read where it is used.
 */
const plainOf = (config: Config): Config => ({
  ...config,
  upstreams: Object.fromEntries(
    [...upstreamsOf(config)].map(([name, upstream]) => {
      const accounts = upstream.accounts.map((each) => (each.passwordFile ? { ...each, password: undefined } : each))
      return [name, { ...upstream, accounts }]
    }),
  ),
})

const isReloaded = (path: readonly string[]): boolean =>
  RELOADED.some((key) => key.split('.').every((part, at) => part === '*' || part === path[at]))

/** Down to whole upstreams, lists and plain values. */
function changedIn(before: unknown, after: unknown, path: readonly string[]): readonly (readonly string[])[] {
  if (!isMap(before) || !isMap(after)) return isSame(before, after) ? [] : [path]
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].flatMap((name) => changedIn(before[name], after[name], [...path, name]))
}

function isSame(before: unknown, after: unknown): boolean {
  if (before instanceof Secret && after instanceof Secret) return before.reveal() === after.reveal()
  if (isMap(before) && isMap(after)) return changedIn(before, after, []).length === 0
  if (!Array.isArray(before) || !Array.isArray(after)) return Object.is(before, after)
  return before.length === after.length && before.every((each, at) => isSame(each, after[at]))
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
