import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../tidy/source.ts'
import type { Soak } from './soak.ts'

const MIB = 1024 * 1024

/** What a run came to, for people. */
export function reportOf(soak: Soak): string {
  const { judge, world, watch, pond, options, volume } = soak
  const { counts, crimes } = judge
  const startingWith = (prefix: string) => [...counts].filter(([name]) => name.startsWith(prefix))
  const refused = startingWith('refused: ')
  const cut = sumOf(startingWith('cut'))
  const others = [...counts].filter(([name]) => !/^(?:whole|left|cut.*|refused: .*|act: .*)$/.test(name))
  const unique = world.catalogue.workingSetBytes
  const recoveries = [...pond.recoveriesMs].sort((a, b) => a - b)
  const lines = [
    `seed ${options.seed}, ${options.seconds} s, load ${options.load}; commit ${commit()}; ${versions()}`,
    `requests: ${counts.get('whole') ?? 0} whole, ${cut} cut (${counts.get('cut: down') ?? 0} by kills), ${counts.get('left') ?? 0} left, ${sumOf(refused)} refused`,
    ...(refused.length > 0 ? [`refused: ${listOf(refused.map(([name, count]) => [name.slice(9), count]))}`] : []),
    `acts: ${listOf(startingWith('act: ').map(([name, count]) => [name.slice(5), count]))}`,
    ...(others.length > 0 ? [`allowed: ${listOf(others)}`] : []),
    `faults: ${listOf([...soak.faultCounts])}`,
    `lies told: ${listOf([...world.lieCounts])}`,
    `upstream: ${world.requests} requests, ${mib(world.upstreamBytes)} MiB of ${mib(unique)} unique: ${(world.upstreamBytes / unique).toFixed(2)} ×`,
    `disk: ${mib(volume.sizeBytes)} MiB; ${world.resumes} resumes, ${watch.quarantined} quarantined`,
    `restarts: ${pond.restarts}; recovery p50 ${ms(recoveries[recoveries.length >> 1])}, max ${ms(recoveries.at(-1))}`,
    `loop lag: p99 ${ms(watch.lagP99S * 1000)}, max ${ms(watch.lagMaxS * 1000)}`,
    `rss MiB: ${extentOf(watch.residentBytes, MIB)}, warm ${mib(watch.warmBytes)}; fds: ${extentOf(watch.descriptors, 1)}`,
    ...[...crimes].map(([name, { count }]) => `${name}: ${count}`),
    ...[...crimes].flatMap(([name, { told }]) => told.map((what) => `  ${name}: ${what}`)),
    `events: ${soak.eventsPath}`,
    again(options),
    judge.isClean ? 'soak passed' : 'soak FAILED',
  ]
  return lines.join('\n')
}

const again = ({ seed, seconds, load, isWell }: Soak['options']): string =>
  `again: npm run soak -- --seed ${seed} --seconds ${seconds} --load ${load}${isWell ? ' --well' : ''}`

const sumOf = (entries: readonly (readonly [string, number])[]): number =>
  entries.reduce((sum, [, count]) => sum + count, 0)

const listOf = (entries: readonly (readonly [string, number])[]): string =>
  [...entries]
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')

const mib = (bytes: number): string => (bytes / MIB).toFixed(0)
const ms = (value: number | undefined): string => (value === undefined ? '-' : `${Math.round(value)} ms`)

const extentOf = ({ start, peak, end }: { start: number; peak: number; end: number }, unit: number): string =>
  [start, peak, end].map((value) => Math.round(value / unit)).join(' / ')

function commit(): string {
  try {
    const asked = { cwd: ROOT, encoding: 'utf8', stdio: 'pipe' } as const
    const head = execFileSync('git', ['rev-parse', '--short', 'HEAD'], asked).trim()
    return execFileSync('git', ['status', '--porcelain'], asked) === '' ? head : `${head}, changed`
  } catch {
    return 'unknown' // no git, or no repository: a packed source
  }
}

function versions(): string {
  const paper: { version?: string } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  return `millpond ${paper.version}, Node ${process.versions.node}, ${process.platform} ${process.arch}`
}
