import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { ask } from '../support/ask.ts'
import { MillpondProcess } from '../support/process.ts'
import { startUpstream } from '../support/upstream.ts'
import { Strace } from './support/strace.ts'

const MIB = 1024 * 1024
/** Each place at first; the books write their many pages in one way, of which each seventh is enough. */
const EACH_PLACE_MAX = 12
const STEP = 7
/** More places than a pull has calls of any one kind in one thread. */
const PLACES_MAX = 250
const INJECTED = '(INJECTED)'

type Fake = Awaited<ReturnType<typeof startUpstream>>
type Image = ReturnType<Fake['addImage']>

async function setUp() {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-errors-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const fake = await startUpstream()
  onTestFinished(() => fake[Symbol.asyncDispose]())
  const data = join(folder, 'data')
  const environment = {
    UV_THREADPOOL_SIZE: '1',
    MILLPOND_LISTEN: '127.0.0.1:0',
    MILLPOND_ADMIN_LISTEN: '127.0.0.1:0',
    MILLPOND_DISK_FOLDER: data,
    MILLPOND_DISK_CAP: '1GiB',
    MILLPOND_UPSTREAMS: JSON.stringify({ 'registry.test': { default: true, endpoints: [fake.origin] } }),
  }
  return { folder, data, fake, start: () => new MillpondProcess([], environment) }
}

async function expectPulled(origin: string, path: string, image: Image): Promise<void> {
  expect((await ask(`${origin}/v2/${path}/manifests/v1`)).body).toEqual(image.manifest)
  for (const { digest } of [image.config, ...image.layers]) {
    const { status, isWhole, body } = await ask(`${origin}/v2/${path}/blobs/${digest}`)
    expect([status, isWhole, body.equals(image.bytesOf(digest))]).toEqual([200, true, true])
  }
}

/** Resolves once no fill is under way, with the number of blobs that the books know. */
const quiet = (adminOrigin: string): Promise<number> =>
  vi.waitFor(
    async () => {
      const text = (await ask(`${adminOrigin}/metrics`)).body.toString()
      expect(text).toContain('\nmillpond_fills_under_way 0\n')
      return Number(/^millpond_disk_blobs (\d+)$/m.exec(text)?.[1])
    },
    { timeout: 10_000, interval: 20 },
  )

async function blobsRightIn(data: string): Promise<number> {
  const blobs = join(data, 'blobs', 'sha256')
  const names = await readdir(blobs)
  for (const name of names) {
    const bytes = await readFile(join(blobs, name))
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(name)
  }
  return names.length
}

/** A file whose flush failed was flushed once: a second try would say ok and mean nothing. */
function expectNoSecondFlush(calls: readonly string[]): void {
  const flushedOf = (line: string) => /f(?:data)?sync\(\d+<([^>]*spools[^>]*)>/.exec(line)?.[1]
  const flushed = calls.flatMap((line) => flushedOf(line) ?? [])
  for (const line of calls.filter((each) => each.includes(INJECTED))) {
    const path = flushedOf(line)
    if (path !== undefined) expect(flushed.filter((each) => each === path)).toHaveLength(1)
  }
}

for (const [call, error] of [
  ['pwrite64', 'EIO'],
  ['pwrite64', 'ENOSPC'],
  ['fdatasync', 'EIO'],
  ['fsync', 'EIO'],
  ['rename', 'ENOSPC'],
  ['openat', 'EIO'],
  ['openat', 'ENOSPC'],
] as const) {
  test(`faults 31, 32: ${error} at the n-th ${call}: each pull is whole, no half blob is left, and the books are the disk`, async () => {
    const { folder, data, fake, start } = await setUp()
    const images: [string, Image][] = []
    {
      await using millpond = start()
      const { origin, adminOrigin } = await millpond.serving()
      let injected = true
      for (let place = 1; injected && place < PLACES_MAX; place += place < EACH_PLACE_MAX ? 1 : STEP) {
        const path = `team/app${place}`
        const image = fake.addImage(path, 'v1', { layers: 1, layerBytes: 2 * MIB + place })
        images.push([path, image])
        await using strace = await Strace.attach(
          millpond.child.pid ?? 0,
          { call, error, place },
          join(folder, `strace.${place}`),
        )
        await expectPulled(origin, path, image)
        await quiet(adminOrigin)
        const calls = await strace.detach()
        injected = calls.some((line) => line.includes(INJECTED))
        if (call !== 'openat') expectNoSecondFlush(calls)
        expect(await quiet(adminOrigin), `after place ${place}`).toBe(await blobsRightIn(data))
      }
      expect(injected, 'there is a place after the last').toBe(false)
      expect(images.length).toBeGreaterThan(1)
      await vi.waitFor(async () => expect((await ask(`${adminOrigin}/readyz`)).status).toBe(200), 15_000)
      millpond.kill('SIGTERM')
      expect((await millpond.ended()).status).toBe(0)
    }

    await using millpond = start()
    const { origin, adminOrigin } = await millpond.serving()
    expect(await quiet(adminOrigin)).toBe(await blobsRightIn(data))
    for (const [path, image] of images) await expectPulled(origin, path, image)
  })
}
