import { pullManifest } from './kit/bench.ts'
import { Cutter } from './kit/cutter.ts'
import { downloadWhole } from './kit/downloads.ts'
import { blobPath } from './kit/images.ts'
import { type Question, Samples } from './kit/question.ts'

/** Upstream hangs up in the middle of a blob: has the client the whole, and how much was fetched again? */
export const upstreamCut: Question = {
  name: 'upstream-cut',
  ask: async (bench) => {
    const [whole, again] = [new Samples(), new Samples()]
    await using cutter = new Cutter(bench.upstream.port)
    const upstreamPort = await cutter.start()
    await using field = await bench.field(['millpond', 'registry', 'nginx'], { upstreamPort })
    for (let run = 0; run < bench.runs; run++) {
      const image = bench.image(`bench/cut-${run}`)
      const [blob] = image.layers
      for (const [who, server] of field) {
        cutter.forget()
        await pullManifest(server.port, image)
        const { told } = await downloadWhole(server.port, image, blob, 1)
        const isWhole = told[0]?.isRight === true
        whole.add(who, isWhole ? 1 : 0)
        const { wasCut, bytes } = cutter.told(blobPath(image, blob))
        if (!wasCut) throw new Error(`${who}: nothing was cut`)
        if (isWhole) again.add(who, (bytes / blob.sizeBytes - 1) * 100)
      }
    }
    return [
      { what: 'upstream cut mid-blob: client has it whole', figures: whole.medians(), target: { atLeast: 1 } },
      { what: '… fetched again, %', figures: again.medians(), target: { atMost: 1 } },
    ]
  },
}
