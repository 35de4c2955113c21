import { mkdtemp, readdir, rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { ask, open } from '../support/ask.ts'
import { MillpondProcess } from '../support/process.ts'
import { startUpstream } from '../support/upstream.ts'

const MIB = 1024 * 1024

async function setUp(layers: number, layerBytes: number) {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-drain-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const fake = await startUpstream()
  onTestFinished(() => fake[Symbol.asyncDispose]())
  const image = fake.addImage('library/app', 'v1', { layers, layerBytes })
  const start = async () => {
    const millpond = new MillpondProcess([], {
      MILLPOND_LISTEN: '127.0.0.1:0',
      MILLPOND_ADMIN_LISTEN: '127.0.0.1:0',
      MILLPOND_DISK_FOLDER: folder,
      MILLPOND_DISK_CAP: '1GiB',
      MILLPOND_UPSTREAMS: JSON.stringify({ 'registry.test': { default: true, endpoints: [fake.origin] } }),
    })
    onTestFinished(() => millpond[Symbol.asyncDispose]())
    const { origin, adminOrigin } = await millpond.serving()
    await ask(`${origin}/v2/library/app/manifests/v1`)
    return { millpond, adminOrigin, url: (digest: string) => `${origin}/v2/library/app/blobs/${digest}` }
  }
  const isUpstreamAt = (bytes: number) =>
    vi.waitFor(() => expect(fake.bodyBytesSent).toBeGreaterThan(bytes), { timeout: 10_000, interval: 5 })
  return { folder, fake, image, start, isUpstreamAt }
}

const bytesOf = async (message: IncomingMessage): Promise<Buffer> => Buffer.concat(await message.toArray())

test('fault 84: SIGTERM under load loses no pull under way, stops what nobody reads, and ends with 0 and clean books', async () => {
  const { folder, fake, image, start, isUpstreamAt } = await setUp(5, 3 * MIB)
  const [left = image.config, ...pulled] = image.layers
  fake.behave({ match: /blobs/, act: { bytesPerSecond: MIB, dripBytes: 64 * 1024 } })
  fake.behave({ match: new RegExp(left.digest), act: { bytesPerSecond: 2 * MIB, dripBytes: 64 * 1024 } })
  const { millpond, adminOrigin, url } = await start()
  const bodies = await Promise.all(pulled.map(({ digest }) => open(url(digest))))
  const pulls = Promise.all(bodies.map(bytesOf))
  const abandoned = await open(url(left.digest))
  abandoned.destroy()
  await isUpstreamAt(1.5 * MIB)

  millpond.kill('SIGTERM')
  await vi.waitFor(async () => expect((await ask(`${adminOrigin}/readyz`)).body.toString()).toBe('draining\n'), 5_000)
  const late = await ask(url(left.digest)).catch(({ code }: NodeJS.ErrnoException) => code)

  expect(late).toBe('ECONNREFUSED')
  for (const [at, body] of (await pulls).entries())
    expect(body.equals(image.bytesOf(pulled[at]?.digest ?? left.digest))).toBe(true)
  expect((await millpond.ended()).status).toBe(0)
  expect(await readdir(folder)).toEqual(expect.arrayContaining(['disk.sqlite.closed', 'index.sqlite.closed']))
  expect((await readdir(join(folder, 'blobs', 'sha256'))).length).toBe(1 + pulled.length)
  expect(await readdir(join(folder, 'spools'))).toHaveLength(2) // of what nobody read: the spool and its note
})

test('fault 85: a second signal ends it at once, and what was fetched is gone on with: a kill costs 8 MiB a spool at most', async () => {
  const { fake, image, start, isUpstreamAt } = await setUp(1, 48 * MIB)
  const [layer = image.config] = image.layers
  fake.behave({ match: /blobs/, act: { bytesPerSecond: 40 * MIB, dripBytes: 256 * 1024 } })
  const first = await start()
  const cut = bytesOf(await open(first.url(layer.digest))).catch(() => undefined)
  await isUpstreamAt(20 * MIB)

  first.millpond.kill('SIGTERM')
  await vi.waitFor(() => expect(first.millpond.out).toContain('"draining"'), { timeout: 5_000, interval: 1 })
  first.millpond.kill('SIGINT')
  expect((await first.millpond.ended()).status).toBe(1)
  await cut

  fake.behaveWell()
  const { millpond, url } = await start()
  expect((await ask(url(layer.digest))).body.equals(image.bytesOf(layer.digest))).toBe(true)
  const twiceBytes = fake.bodyBytesSent - layer.size
  expect(twiceBytes).toBeLessThan(8 * MIB + 6 * MIB) // a note, and what sockets and pieces held
  millpond.kill('SIGTERM')
  expect((await millpond.ended()).status).toBe(0)
})
