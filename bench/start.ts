import { type Question, Samples } from './kit/question.ts'

/** How long from the start of the process to its first answer, with nothing kept yet? */
export const start: Question = {
  name: 'start',
  ask: async (bench) => {
    const seconds = new Samples()
    for (let run = 0; run < bench.runs; run++) {
      await using field = await bench.field(['millpond', 'registry', 'nginx'])
      for (const [who, server] of field) seconds.add(who, server.startMs / 1000)
    }
    const what = 'start to first answer, s'
    return [{ what, figures: seconds.medians(), ratioTo: 'registry', target: { atMost: 0.8 } }]
  },
}
