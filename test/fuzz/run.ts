import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { BODIES } from './bodies.ts'
import { GRAMMARS } from './grammars.ts'
import type { Property } from './property.ts'
import { WIRE } from './wire.ts'

/**
 * `npm run fuzz -- --minutes N --seed S`: the properties of fuzz.test.ts, each with other seeds, for so long. A finding
 * is told with its seed and what it came down to, and ends it with 1; it then becomes a test.
 */
const RUNS_EACH = 2_000

const { values } = parseArgs({ options: { minutes: { type: 'string' }, seed: { type: 'string' } } })
const minutes = Number(values.minutes ?? 5)
const firstSeed = Number(values.seed ?? Date.now() % 1_000_000)
const properties = [...GRAMMARS, ...BODIES, ...WIRE]
const untilMs = performance.now() + minutes * 60_000
const runs = new Map<string, number>()
console.log(`${properties.length} properties for ${minutes} min, from seed ${firstSeed}`)
let findings = 0
for (let round = 0; performance.now() < untilMs && findings === 0; round += 1) {
  for (const each of properties) findings += await check(each, firstSeed + round)
}
for (const [name, count] of runs) console.log(`${String(count).padStart(9)}  ${name}`)
console.log(findings === 0 ? 'no finding' : `again: npm run fuzz -- --minutes 1 --seed ${firstSeed}`)
process.exitCode = findings === 0 ? 0 : 1

async function check({ name, property }: Property, seed: number): Promise<number> {
  const numRuns = property.isAsync() ? RUNS_EACH / 40 : RUNS_EACH
  const details = await fc.check(property as fc.IAsyncProperty<unknown>, { seed, numRuns, endOnFailure: false })
  runs.set(name, (runs.get(name) ?? 0) + details.numRuns)
  if (!details.failed) return 0
  console.log(`FINDING (seed ${seed}): ${name}\n${fc.defaultReportMessage(details)}`)
  return 1
}
