import type { House } from './house.ts'

/** registries.conf (containers-registries.conf(5)): each upstream's mirror is Millpond, below the upstream's name. */
export function mirrorsOf(house: House): string {
  const upstreams = Object.keys(house.fronts).map((upstream) =>
    [
      '[[registry]]',
      `location = "${upstream}"`,
      '[[registry.mirror]]',
      `location = "${house.millpond.host}/${upstream}"`,
      'insecure = true',
    ].join('\n'),
  )
  return `${['unqualified-search-registries = []', ...upstreams].join('\n\n')}\n`
}
