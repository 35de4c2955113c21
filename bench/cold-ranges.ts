import { setTimeout as sleep } from 'node:timers/promises'
import { pullManifest } from './kit/bench.ts'
import type { Ask } from './kit/client.ts'
import { download } from './kit/downloads.ts'
import { blobPath } from './kit/images.ts'
import { type Question, type Row, Samples } from './kit/question.ts'

const PARTS = 8
const SETTLE_MS = 1000

/** Eight parts of a cold blob at once, with an end and (as containerd asks) without: how often is it fetched? */
export const coldRanges: Question = {
  name: 'cold-ranges',
  ask: async (bench) => {
    const rows: Row[] = []
    for (const [kind, atMost] of [
      ['closed', 1.01],
      ['open', 1.05],
    ] as const) {
      const [fetched, right] = [new Samples(), new Samples()]
      await using field = await bench.field(['millpond', 'registry', 'nginx'])
      for (let run = 0; run < bench.runs; run++) {
        const image = bench.image(`bench/${kind}-${run}`)
        const [blob] = image.layers
        for (const [who, server] of field) {
          await pullManifest(server.port, image)
          const mark = await bench.upstream.mark()
          const asks = asksOf(kind, blob.sizeBytes / PARTS)
          const { told } = await download({ port: server.port, path: blobPath(image, blob), seed: blob.seed, asks })
          await server.cpuSecondsAtRest()
          await sleep(SETTLE_MS) // what was begun upstream is in its log only when it ends
          fetched.add(who, (await bench.upstream.sentSince(mark, blob.digest)).bytes / blob.sizeBytes)
          right.add(who, told.filter((each) => each.isRight).length)
        }
      }
      const what = kind === 'closed' ? '8 closed ranges of a cold 64 MiB blob' : '8 open-ended ranges, read for a part'
      rows.push({ what: `${what}: fetched ×`, figures: fetched.medians(), ratioTo: 'registry', target: { atMost } })
      rows.push({ what: '… parts right, of 8', figures: right.medians(), target: { atLeast: PARTS } })
    }
    return rows
  },
}

const asksOf = (kind: 'closed' | 'open', bytes: number): readonly Ask[] =>
  Array.from({ length: PARTS }, (_, nth): Ask => {
    const from = nth * bytes
    return { from, bytes, range: `bytes=${from}-${kind === 'closed' ? from + bytes - 1 : ''}` }
  })
