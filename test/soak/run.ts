/*
 * soak: everything at once, and nothing may be lost, wrong or let out (faults.md, "Soak"; tests of single faults are in
 * test/faults/ and beside the rooms).
 *
 * A real server process on a real SQLite and a tmpfs too small for what is asked of it, three upstreams that lie behind
 * relays that cut, clients who misbehave, and a schedule of faults: all drawn from one seed. The schedule replays,
 * the kernel's timing does not: what happened when is in the event log. Wants Linux, root and libfaketime.
 * Read next: soak.ts (the run), schedule.ts (what goes wrong), judge.ts (what is held against it).
 *
 *   npm run soak -- --seed 7 --seconds 120 --load 40
 *   npm run soak -- --well       upstreams do nothing wrong, so no pull may fail, whatever befalls disk and process
 */
import { parseArgs } from 'node:util'
import { libfaketime } from './pond.ts'
import { reportOf } from './report.ts'
import { Soak } from './soak.ts'

/** Beyond the seconds that were asked for: to begin, to come to rest and to look at what is left. */
const BEYOND_MS = 30_000
const SECONDS_MIN = 20

function optionsOf(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
      seconds: { type: 'string', default: '60' },
      load: { type: 'string', default: '40' },
      well: { type: 'boolean', default: false },
    },
  })
  const [seed, seconds, load] = [values.seed, values.seconds, values.load].map(Number)
  if (!isWhole(seed, 0) || !isWhole(seconds, SECONDS_MIN) || !isWhole(load, 1)) {
    throw new Error(`--seed N, --seconds ${SECONDS_MIN} or more, --load of 1 client or more`)
  }
  return { seed, seconds, load, isWell: values.well }
}

const isWhole = (value: number | undefined, least: number): value is number =>
  Number.isSafeInteger(value) && Number(value) >= least

async function main(): Promise<void> {
  const options = optionsOf(process.argv.slice(2))
  libfaketime()
  let soak: Soak | undefined
  const giveUp = (status: number, why: string) => {
    console.error(`soak: ${why}`)
    if (soak) console.error(reportOf(soak))
    soak?.abandon()
    process.exit(status)
  }
  const watchdog = setTimeout(() => giveUp(1, 'it did not end in time'), options.seconds * 1000 + BEYOND_MS)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => giveUp(130, `ended by ${signal}`))
  soak = await Soak.prepare(options)
  try {
    await soak.run()
  } catch (error) {
    soak.judge.accuse('crashes', `the run ended early: ${error instanceof Error ? error.stack : error}`)
  } finally {
    await soak[Symbol.asyncDispose]()
  }
  clearTimeout(watchdog)
  console.log(reportOf(soak))
  process.exit(soak.judge.isClean ? 0 : 1)
}

await main().catch((error: unknown) => {
  console.error(`soak: ${error instanceof Error ? error.message : error}`)
  process.exit(1)
})
