import { setTimeout as sleep } from 'node:timers/promises'
import { getManifest, pullManifest } from './kit/bench.ts'
import { downloadWhole, mustBeRight } from './kit/downloads.ts'
import { medianOf, type Question, Samples } from './kit/question.ts'

const ASKS = 21

/** Upstream is down and the tag no longer fresh: how long until the first client has its answer, and the next ones? */
export const upstreamDown: Question = {
  name: 'upstream-down',
  ask: async (bench) => {
    const image = bench.image('bench/small')
    const [first, next] = [new Samples(), new Samples()]
    for (let run = 0; run < bench.runs; run++) {
      await using field = await bench.field(['millpond', 'registry', 'nginx'], { fresh: '1s' })
      for (const [who, { port }] of field) {
        for (let warm = 0; warm < ASKS; warm++) await pullManifest(port, image)
        // an image without its layers is no answer to one who can't turn back after the manifest
        for (const blob of [image.config, ...image.layers]) mustBeRight(await downloadWhole(port, image, blob, 1), who)
      }
      await sleep(2000)
      await bench.upstream.stop()
      try {
        for (const [who, { port }] of field) {
          const got = []
          for (let nth = 0; nth < ASKS; nth++) got.push(await getManifest(port, image))
          if (got.some((each) => each.status !== 200)) throw new Error(`${who}: a known tag was refused in an outage`)
          first.add(who, got[0]?.ms ?? Number.NaN)
          next.add(who, medianOf(got.slice(1).map((each) => each.ms)))
        }
      } finally {
        await bench.upstream.restart()
      }
    }
    const row = (what: string, samples: Samples) => ({ what, figures: samples.medians(), ratioTo: 'nginx' as const })
    return [
      row('upstream down, stale tag: first answer, ms', first),
      { ...row('… the ones after, ms', next), target: { atMost: 5 } },
    ]
  },
}
