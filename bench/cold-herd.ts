import { pullManifest } from './kit/bench.ts'
import { downloadWhole, mustBeRight } from './kit/downloads.ts'
import { type Question, Samples } from './kit/question.ts'

const CLIENTS = 20

/** Twenty clients ask for one cold blob: how often is it fetched, at what cost, and when has the last one all? */
export const coldHerd: Question = {
  name: 'cold-herd',
  ask: async (bench) => {
    const [fetched, cpu, time, peak] = [new Samples(), new Samples(), new Samples(), new Samples()]
    await using field = await bench.field(['millpond', 'registry', 'nginx'])
    for (let run = 0; run < bench.runs; run++) {
      const image = bench.image(`bench/herd-${run}`)
      const [blob] = image.layers
      for (const [who, server] of field) {
        await pullManifest(server.port, image)
        const before = await server.cpuSecondsAtRest()
        const mark = await bench.upstream.mark()
        const report = await downloadWhole(server.port, image, blob, CLIENTS)
        mustBeRight(report, who)
        time.add(who, report.wallMs)
        cpu.add(who, ((await server.cpuSecondsAtRest()) - before) / ((CLIENTS * blob.sizeBytes) / 1e9))
        fetched.add(who, (await bench.upstream.sentSince(mark, blob.digest)).bytes / blob.sizeBytes)
        peak.add(who, await server.peakMb())
      }
    }
    const row = (what: string, samples: Samples) => ({ what, figures: samples.medians(), ratioTo: 'registry' as const })
    return [
      { ...row('20 clients, one cold 128 MiB blob: fetched ×', fetched), target: { atMost: 1 } },
      { ...row('… CPU s/GB served', cpu), target: { atMost: 0.7, of: 'registry' } },
      { ...row('… ms until the last has all', time), target: { atMost: 1, of: 'registry' } },
      row('… peak memory, MB', peak),
    ]
  },
}
