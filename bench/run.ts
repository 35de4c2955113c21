/*
 * bench: Millpond beside docker-registry (proxy), nginx (proxy_cache with lock) and the upstream itself, in one run.
 *
 * Promises: the same work for all, medians, ratios to peers measured minutes apart; the bytes timed are checked.
 * One question a file in this folder; kit/ starts the servers and makes the load. Read next: kit/bench.ts.
 *
 *   npm run bench                          everything, some 10 minutes
 *   npm run bench -- blob-hit cold-one     these questions
 *   npm run bench -- --runs 1 --only millpond,nginx
 */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { blobHit } from './blob-hit.ts'
import { coldHerd } from './cold-herd.ts'
import { coldOne } from './cold-one.ts'
import { coldRanges } from './cold-ranges.ts'
import { Bench } from './kit/bench.ts'
import { type Image, Images, MIB } from './kit/images.ts'
import { Upstream } from './kit/nginx.ts'
import { freePort } from './kit/processes.ts'
import { CONTENDERS, type Question, type Row, type Who } from './kit/question.ts'
import { tableOf } from './kit/table.ts'
import { installTools, versionOf } from './kit/tools.ts'
import { manifestHit } from './manifest-hit.ts'
import { smallBlobHit } from './small-blob-hit.ts'
import { stalled } from './stalled.ts'
import { start } from './start.ts'
import { upstreamCut } from './upstream-cut.ts'
import { upstreamDown } from './upstream-down.ts'

const QUESTIONS: readonly Question[] = [
  manifestHit,
  smallBlobHit,
  blobHit,
  stalled,
  coldOne,
  coldHerd,
  coldRanges,
  upstreamCut,
  upstreamDown,
  start,
]
const FOLDER = join(import.meta.dirname, '..', '.bench')

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: 'string', default: '3' },
      only: { type: 'string', default: CONTENDERS.join() },
    },
  })
  const runs = Number(values.runs)
  const only = new Set(CONTENDERS.filter((who) => values.only.split(',').includes(who)))
  const unknown = positionals.filter((name) => !QUESTIONS.some((question) => question.name === name))
  if (unknown.length > 0 || !(runs >= 1) || only.size === 0) {
    throw new Error(
      `questions are ${QUESTIONS.map((each) => each.name).join(', ')}; contenders ${CONTENDERS.join(', ')}`,
    )
  }
  installTools()
  const asked = QUESTIONS.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
  const rows = await askAll(asked, runs, only)
  const machine = await machineText()
  console.log(`\n${machine}; median of ${runs}\n\n${tableOf(rows)}`)
  const resultsPath = join(FOLDER, 'results', `${new Date().toISOString().replaceAll(':', '-')}.json`)
  await mkdir(join(FOLDER, 'results'), { recursive: true })
  await writeFile(resultsPath, `${JSON.stringify({ machine, runs, rows }, null, 2)}\n`)
  console.log(`\nkept in .bench/results`)
}

async function askAll(asked: readonly Question[], runs: number, only: ReadonlySet<Who>): Promise<readonly Row[]> {
  const folder = join(FOLDER, 'run')
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const images = await makeImages(runs)
  await using upstream = new Upstream(join(folder, 'upstream'), await freePort())
  await upstream.start(join(FOLDER, 'upstream', 'blobs'), [...images.values()])
  const bench = new Bench({ upstream, runs, images, folder, only })
  const rows: Row[] = []
  for (const question of asked) {
    const startedMs = performance.now()
    try {
      const answered = await question.ask(bench)
      const seconds = Math.round((performance.now() - startedMs) / 1000)
      console.error(`\n${question.name} (${seconds} s)\n${tableOf(answered)}`)
      rows.push(...answered)
    } catch (error) {
      console.error(`\n${question.name} has no answer: ${error instanceof Error ? error.message : error}`)
      process.exitCode = 1 // the other questions are asked all the same
    }
  }
  return rows
}

/** What upstream serves: one image for the hits, and a new one for each time that something must be cold. */
async function makeImages(runs: number): Promise<ReadonlyMap<string, Image>> {
  const layerBytes = new Map([
    ['bench/small', 64 * 1024],
    ['bench/hit', 256 * MIB],
    ['bench/warm', 16 * MIB],
  ])
  for (let run = 0; run < runs; run++) {
    layerBytes.set(`bench/cold-${run}`, 256 * MIB)
    layerBytes.set(`bench/herd-${run}`, 128 * MIB)
    for (const kind of ['closed', 'open', 'cut']) layerBytes.set(`bench/${kind}-${run}`, 64 * MIB)
  }
  const maker = new Images(join(FOLDER, 'upstream'))
  const images = new Map<string, Image>()
  for (const [name, bytes] of layerBytes) images.set(name, await maker.make(name, bytes))
  return images
}

async function machineText(): Promise<string> {
  const [nginx, registry] = [await versionOf('nginx'), await versionOf('docker-registry')]
  const model = cpus()[0]?.model ?? 'unknown processor'
  return `${model}, ${cpus().length} cores; Node ${process.versions.node}, docker-registry ${registry}, nginx ${nginx}`
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

await main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
})
