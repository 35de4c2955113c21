import { pullManifest } from './kit/bench.ts'
import { downloadWhole, mustBeRight } from './kit/downloads.ts'
import { blobPath } from './kit/images.ts'
import { type Question, Samples } from './kit/question.ts'
import { wrk } from './kit/wrk.ts'

/** What does a small blob that is held cost: the config of 3 KiB that every pull of an image asks for? */
export const smallBlobHit: Question = {
  name: 'small-blob-hit',
  ask: async (bench) => {
    const image = bench.image('bench/small')
    const cpu = new Samples()
    await using field = await bench.field(['millpond', 'registry', 'nginx', 'direct'])
    for (const [who, { port }] of field) {
      await pullManifest(port, image)
      mustBeRight(await downloadWhole(port, image, image.config, 1), `${who}, cold`)
    }
    for (let run = 0; run < bench.runs; run++) {
      for (const [who, server] of field) {
        const load = { port: server.port, path: blobPath(image, image.config), bodyBytes: image.config.sizeBytes }
        await wrk({ ...load, connections: 16, seconds: 2 })
        const before = await server.cpuSeconds()
        const { requests } = await wrk({ ...load, connections: 16, seconds: 3 })
        cpu.add(who, ((await server.cpuSeconds()) - before) * (1e6 / requests))
        mustBeRight(await downloadWhole(server.port, image, image.config, 4), `${who}, after the load`)
      }
    }
    const target = { atMost: 2, of: 'nginx' } as const
    return [{ what: 'small blob hit (config), CPU µs', figures: cpu.medians(), ratioTo: 'nginx', target }]
  },
}
