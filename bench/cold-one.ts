import { pullManifest } from './kit/bench.ts'
import { downloadWhole, mustBeRight } from './kit/downloads.ts'
import { type Question, Samples } from './kit/question.ts'

/** What does one client wait, and the server pay, for a blob of 256 MiB that is not held yet? */
export const coldOne: Question = {
  name: 'cold-one',
  ask: async (bench) => {
    const warm = bench.image('bench/warm')
    const [time, first, cpu] = [new Samples(), new Samples(), new Samples()]
    await using field = await bench.field(['millpond', 'registry', 'nginx', 'direct'])
    for (const [who, { port }] of field) {
      await pullManifest(port, warm)
      mustBeRight(await downloadWhole(port, warm, warm.layers[0], 1), `${who}, warming`)
    }
    for (let run = 0; run < bench.runs; run++) {
      const image = bench.image(`bench/cold-${run}`)
      const [blob] = image.layers
      for (const [who, server] of field) {
        await pullManifest(server.port, image)
        const before = await server.cpuSecondsAtRest()
        const report = await downloadWhole(server.port, image, blob, 1)
        mustBeRight(report, who)
        time.add(who, report.told[0]?.endMs ?? Number.NaN)
        first.add(who, report.told[0]?.firstMs ?? Number.NaN)
        cpu.add(who, ((await server.cpuSecondsAtRest()) - before) / (blob.sizeBytes / 1e9))
      }
    }
    const row = (what: string, samples: Samples) => ({ what, figures: samples.medians(), ratioTo: 'nginx' as const })
    return [
      { ...row('cold 256 MiB blob, 1 client, ms', time), target: { atMost: 1.5, of: 'nginx' } },
      { ...row('… its first byte, ms', first), target: { atMost: 3, of: 'nginx' } },
      { ...row('… CPU s/GB', cpu), target: { atMost: 1, of: 'registry' } },
    ]
  },
}
