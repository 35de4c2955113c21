import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { type Outside, systemOutside } from '../../src/base/clock.ts'
import { MIB } from '../../src/base/units.ts'
import { ask, open } from '../support/ask.ts'
import { startHouse } from '../support/house.ts'
import type { Act } from '../support/misbehave.ts'
import { MillpondProcess } from '../support/process.ts'
import { startUpstream } from '../support/upstream.ts'

const TROUBLES: readonly (readonly [why: string, act: Act])[] = [
  ['500', { status: 500 }],
  ['502 with a page', { status: 502, body: '<html>Bad Gateway</html>' }],
  ['503 with Retry-After', { status: 503, headers: { 'retry-after': '3600' } }],
  ['504', { status: 504 }],
  ['429', { status: 429, headers: { 'retry-after': '1' } }],
  ['a reset', { refuse: true }],
  ['a redirect to nowhere', { redirect: 'http://169.254.1.1/' }],
  ['418', { status: 418 }],
]

for (const [why, act] of TROUBLES) {
  test(`fault 88: an upstream that answers ${why} takes nothing away, and is never told as an absence`, async () => {
    await using upstream = await startUpstream()
    const tags = [{ fresh: '0s', stale: '0s', staleIfError: '1h' }]
    await using house = await startHouse(upstream, { upstreams: { 'registry.test': { tags } } })
    const image = upstream.addImage('library/a', 'v1', { layers: 1 })
    const layer = image.layers[0]?.digest ?? ''
    const statusesOf = async (repository: string) =>
      await Promise.all([
        house.getManifest(repository, 'v1'),
        house.getManifest(repository, 'v1', { method: 'HEAD' }),
        house.getManifest(repository, image.digest),
        house.getBlob(repository, layer),
        house.getBlob(repository, layer, { method: 'HEAD' }),
        house.getBlob(repository, image.config.digest),
      ]).then((answers) => answers.map(({ status }) => status))
    await statusesOf('library/a')
    await house.quiet()
    upstream.behave({ match: /./, act })

    const held = await statusesOf('library/a')
    const stale = await house.getManifest('library/a', 'v1')
    const unknown = await statusesOf('library/b')

    expect(held).toEqual([200, 200, 200, 200, 200, 200])
    expect(stale.headers['cache-status']).toMatch(/^millpond; fwd=stale/)
    expect(unknown.filter((status) => status < 429 || status === 500)).toEqual([])
    upstream.behaveWell()
    await vi.waitFor(async () => expect((await house.getManifest('library/b', 'v2')).status).toBe(404), 3_000)
  })
}

test('fault 56: a host that slept, its connections cut meanwhile, goes on where it was, without a burst', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-asleep-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  await using upstream = await startUpstream()
  const image = upstream.addImage('library/a', 'v1', { layers: 2, layerBytes: 4 * MIB })
  const timeouts = { headers: '1s', idle: '1s' }
  const tags = [{ fresh: '1800ms', stale: '1h' }]
  const environment = {
    ...{ MILLPOND_LISTEN: '127.0.0.1:0', MILLPOND_ADMIN_LISTEN: '127.0.0.1:0' },
    ...{ MILLPOND_DISK_FOLDER: folder, MILLPOND_DISK_CAP: '1GiB' },
    MILLPOND_UPSTREAMS: JSON.stringify({
      'registry.test': { default: true, endpoints: [upstream.origin], timeouts, tags },
    }),
  }
  await using millpond = new MillpondProcess([], environment)
  const { origin } = await millpond.serving()
  const manifest = `${origin}/v2/library/a/manifests/v1`
  await ask(manifest)
  upstream.behave({ match: /blobs/, act: { bytesPerSecond: 8 * MIB, dripBytes: 64 * 1024 } })
  const pulls = image.layers.flatMap(({ digest }) =>
    [1, 2, 3].map(async () => {
      const pieces: Buffer[] = []
      for await (const piece of await open(`${origin}/v2/library/a/blobs/${digest}`)) pieces.push(piece)
      return Buffer.concat(pieces).equals(image.bytesOf(digest))
    }),
  )
  await vi.waitFor(() => expect(upstream.bodyBytesSent).toBeGreaterThan(5 * MIB), { timeout: 10_000, interval: 10 })

  millpond.kill('SIGSTOP')
  await upstream.stop()
  await sleep(2_000) // the fault itself: each wait of the process is over when it wakes
  await upstream.start()
  const asked = upstream.requests.length
  millpond.kill('SIGCONT')
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask(manifest)))

  expect(await Promise.all(pulls)).toEqual(Array(6).fill(true))
  expect(upstream.bodyBytesSent).toBeLessThan(1.4 * 2 * 4 * MIB) // begun anew it would be 1.6
  expect(answers.every(({ status }) => status === 200)).toBe(true)
  const since = upstream.requests.slice(asked)
  expect(since.filter((request) => request.startsWith('HEAD')).length).toBeLessThanOrEqual(3)
  expect(since.filter((request) => request.includes('/blobs/')).length).toBeLessThanOrEqual(2 * 3)
  expect((await ask(manifest)).status).toBe(200)
}, 30_000)

test('fault 45: a fill whose upstream falls silent asks anew by itself; its key is free for all who come', async () => {
  await using upstream = await startUpstream()
  const config = { timeouts: { idle: '300ms', headers: '300ms' } }
  await using house = await startHouse(upstream, { upstreams: { 'registry.test': config } })
  const image = upstream.addImage('library/a', 'v1', { layers: 1, layerBytes: 3 * MIB })
  const digest = image.layers[0]?.digest ?? image.digest
  await house.getManifest('library/a', 'v1')
  upstream.behave({ match: /GET .*blobs/, times: 1, act: { stallAfter: MIB } })
  upstream.behave({ match: /GET .*blobs.*bytes=/, times: 1, act: { hang: true } })

  const together = await Promise.all([1, 2, 3].map(() => house.getBlob('library/a', digest)))
  await house.quiet()

  for (const { body } of together) expect(body.equals(image.bytesOf(digest))).toBe(true)
  expect(upstream.requestsOf(/GET .*blobs/)).toHaveLength(3)
  expect(upstream.bodyBytesSent).toBeLessThanOrEqual(1.4 * 3 * MIB)
})

test('fault 54: a wall clock that steps two days either way, and a restart under it, costs no answer and no fetch', async () => {
  const steps = { ms: 0 }
  const { clock, random } = systemOutside
  const stepping: Outside = {
    random,
    clock: {
      wallMs: () => clock.wallMs() + steps.ms,
      monotonicMs: () => clock.monotonicMs(),
      sleep: (ms, signal) => clock.sleep(ms, signal),
      after: (ms, act) => clock.after(ms, act),
    },
  }
  await using upstream = await startUpstream({ auth: { kind: 'bearer' } })
  await using house = await startHouse(upstream, { outside: stepping })
  const image = upstream.addImage('library/a', 'v1')
  const all = [image.config, ...image.layers].map(({ digest }) => digest)
  const pull = async () => [
    (await house.getManifest('library/a', 'v1')).status,
    ...(await Promise.all(all.map((digest) => house.getBlob('library/a', digest)))).map(({ status }) => status),
  ]
  await pull()
  await house.quiet()
  const fetched = upstream.requestsOf(/GET .*blobs/).length
  const tokens = upstream.tokens.requests.length

  for (const days of [2, -2, 0]) {
    steps.ms = days * 86_400_000
    expect(await pull(), `${days} days`).toEqual([200, 200, 200, 200])
  }
  expect(upstream.tokens.requests).toHaveLength(tokens)
  for (const days of [-2, 2]) {
    steps.ms = days * 86_400_000
    await house.restart()
    expect(await pull(), `${days} days, restarted`).toEqual([200, 200, 200, 200])
  }

  expect(upstream.requestsOf(/GET .*blobs/)).toHaveLength(fetched)
})
