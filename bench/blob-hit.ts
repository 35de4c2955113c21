import { pullManifest } from './kit/bench.ts'
import { downloadWhole, mustBeRight } from './kit/downloads.ts'
import { type Question, Samples } from './kit/question.ts'

/** Bodies of 256 MiB behind each figure: CPU is told in hundredths of a second. */
const BODIES = 8

/** What does a large blob that is held cost, and how fast does it leave, for one client and for eight at once? */
export const blobHit: Question = {
  name: 'blob-hit',
  ask: async (bench) => {
    const image = bench.image('bench/hit')
    const [blob] = image.layers
    const cpu = { 1: new Samples(), 8: new Samples() }
    const speed = { 1: new Samples(), 8: new Samples() }
    await using field = await bench.field(['millpond', 'registry', 'nginx', 'copying', 'direct'])
    for (const [who, { port }] of field) {
      await pullManifest(port, image)
      for (let warm = 0; warm < 2; warm++) mustBeRight(await downloadWhole(port, image, blob, 1), `${who}, warming`)
    }
    for (let run = 0; run < bench.runs; run++) {
      for (const clients of [1, 8] as const) {
        for (const [who, server] of field) {
          const before = await server.cpuSecondsAtRest()
          let wallMs = 0
          for (let left = BODIES; left > 0; left -= clients) {
            const report = await downloadWhole(server.port, image, blob, clients)
            mustBeRight(report, who)
            wallMs += report.wallMs
          }
          const gigabytes = (BODIES * blob.sizeBytes) / 1e9
          cpu[clients].add(who, ((await server.cpuSeconds()) - before) / gigabytes)
          speed[clients].add(who, gigabytes / (wallMs / 1000))
        }
      }
    }
    const row = (what: string, samples: Samples) => ({ what, figures: samples.medians(), ratioTo: 'nginx' as const })
    return [
      row('blob hit, 1 client, CPU s/GB', cpu[1]),
      row('blob hit, 1 client, GB/s', speed[1]),
      { ...row('blob hit, 8 clients, CPU s/GB', cpu[8]), target: { atMost: 1, of: 'registry' } },
      { ...row('blob hit, 8 clients, GB/s', speed[8]), target: { atLeast: 1, of: 'registry' } },
    ]
  },
}
