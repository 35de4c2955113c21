import { getManifest, pullManifest } from './kit/bench.ts'
import { manifestPath, TAG } from './kit/images.ts'
import { type Question, type Row, Samples } from './kit/question.ts'
import { wrk } from './kit/wrk.ts'

const SECONDS = 3

/** What does a manifest cost that is held, by digest and by tag, and how late is the last in a hundred of a crowd? */
export const manifestHit: Question = {
  name: 'manifest-hit',
  ask: async (bench) => {
    const image = bench.image('bench/small')
    const [digestCpu, digestP99, tagCpu, tagUpstream] = [new Samples(), new Samples(), new Samples(), new Samples()]
    await using field = await bench.field(['millpond', 'registry', 'nginx', 'direct'])
    for (const [, { port }] of field) await pullManifest(port, image)
    for (let run = 0; run < bench.runs; run++) {
      for (const [who, server] of field) {
        const load = { port: server.port, seconds: SECONDS, bodyBytes: image.manifest.text.length }
        for (const [reference, cpu] of [
          [image.manifest.digest, digestCpu],
          [TAG, tagCpu],
        ] as const) {
          const path = manifestPath(image, reference)
          await wrk({ ...load, path, connections: 16, seconds: 2 }) // code paths get warm
          const mark = await bench.upstream.mark()
          const before = await server.cpuSeconds()
          const { requests } = await wrk({ ...load, path, connections: 16 })
          cpu.add(who, ((await server.cpuSeconds()) - before) * (1e6 / requests))
          const sent = await bench.upstream.sentSince(mark)
          if (reference === TAG && who !== 'direct') tagUpstream.add(who, (sent.requests * 1000) / requests)
          await getManifest(server.port, image, reference) // the bytes are still the right ones
        }
        const crowd = { ...load, path: manifestPath(image, image.manifest.digest), connections: 256 }
        digestP99.add(who, (await wrk(crowd)).p99Ms)
      }
    }
    return [
      row('manifest hit by digest, CPU µs', digestCpu, { atMost: 1.5, of: 'nginx' }),
      row('… p99 ms at 256 connections', digestP99),
      row('manifest hit by tag, CPU µs', tagCpu, { atMost: 1.5, of: 'nginx' }),
      row('… upstream requests per 1,000 hits', tagUpstream, { atMost: 0 }),
    ]
  },
}

const row = (what: string, samples: Samples, target?: Row['target']): Row => ({
  what,
  figures: samples.medians(),
  ratioTo: 'nginx',
  ...(target && { target }),
})
