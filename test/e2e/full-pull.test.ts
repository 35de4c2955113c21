import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'

const MIB = 1024 * 1024
const LAYER_BYTES = 48 * MIB

/** A house on a small volume of its own, which wants root; its cap is not what ends the room, the kernel does. */
async function startOn(options: string) {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-pull-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder])
  onTestFinished(async () => {
    execFileSync('umount', ['-l', folder])
    await rm(folder, { recursive: true, force: true })
  })
  const upstream = await startUpstream()
  onTestFinished(() => upstream[Symbol.asyncDispose]())
  const image = upstream.addImage('library/app', 'v1', { layers: 1, layerBytes: LAYER_BYTES })
  const digest = image.layers[0]?.digest ?? image.digest
  const house = await startHouse(upstream, { folder, cap: '100GiB' })
  onTestFinished(() => house[Symbol.asyncDispose]())
  await house.getManifest('library/app', 'v1')
  const ballast = join(folder, 'ballast')
  await mkdir(ballast)
  return { folder, ballast, upstream, house, digest, layer: image.bytesOf(digest) }
}

const unowned: unknown[] = []
process.on('unhandledRejection', (reason) => unowned.push(reason))

type Started = Awaited<ReturnType<typeof startOn>>

/** Two whole bodies and ranges, all at once; each must be right. */
async function pullAll({ house, digest, layer }: Started): Promise<void> {
  const spans = [[], [], [0, LAYER_BYTES], [10 * MIB, 20 * MIB], [30 * MIB, 40 * MIB], [40 * MIB, LAYER_BYTES]]
  const answers = await Promise.all(
    spans.map(([start, end = 0]) =>
      house.getBlob(
        'library/app',
        digest,
        start === undefined ? {} : { headers: { range: `bytes=${start}-${end - 1}` } },
      ),
    ),
  )
  for (const [at, { status, isWhole, body }] of answers.entries()) {
    const [start = 0, end = LAYER_BYTES] = spans[at] ?? []
    expect(status).toBe(spans[at]?.length ? 206 : 200)
    expect(isWhole && body.equals(layer.subarray(start, end)), `${start}-${end}`).toBe(true)
  }
}

/** As another would, who writes to the volume too. */
async function useUpBytes(folder: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  await writeFile(join(folder, 'bytes'), Buffer.alloc(bavail * bsize)).catch(() => undefined) // ENOSPC is the aim
}

for (const { what, options, spoil } of [
  { what: 'a byte', options: 'size=24m', spoil: ({ ballast }: Started) => useUpBytes(ballast) },
  { what: 'an inode', options: 'size=200m,nr_inodes=48', spoil: ({ ballast }: Started) => useUpInodes(ballast) },
  {
    what: 'a byte, from the middle of the fill on,',
    options: 'size=100m',
    spoil: async ({ ballast, upstream }: Started) => {
      upstream.behave({ match: /blobs/, act: { bytesPerSecond: 32 * MIB, dripBytes: 256 * 1024 } })
      void vi.waitUntil(() => upstream.bodyBytesSent > 16 * MIB, { interval: 1 }).then(() => useUpBytes(ballast))
    },
  },
]) {
  test(`fault 30: without ${what} left whole bodies and ranges are served all the same, and it recovers by itself`, async () => {
    const started = await startOn(options)
    const { folder, house, digest, layer, ballast } = started
    await spoil(started)

    await pullAll(started)

    expect(house.server.disk.find(digest)).toBeUndefined()
    expect(house.logged.join('')).toContain('this fill goes on without keeping')
    expect(await house.number('millpond_degraded{part="disk"}')).toBe(1)
    expect((await house.askAdmin('/readyz')).status).toBe(200) // every pull succeeds
    await rm(ballast, { recursive: true })
    execFileSync('mount', ['-o', 'remount,size=200m', folder])
    await vi.waitFor(() => expect(house.server.disk.isDegraded).toBe(false), { timeout: 15_000, interval: 100 })
    const pullKept = async () => {
      expect((await house.getBlob('library/app', digest)).body.equals(layer)).toBe(true)
      await house.quiet()
      expect(house.server.disk.find(digest)).toBeDefined()
    }
    await vi.waitFor(pullKept, { timeout: 15_000, interval: 250 }) // the volume is asked once a second
    expect(unowned).toEqual([])
  })
}

async function useUpInodes(folder: string): Promise<void> {
  try {
    for (let number = 0; ; number += 1) await writeFile(join(folder, String(number)), '')
  } catch {
    // ENOSPC: that was the last
  }
}

test('fault 30: a stop on a volume without a byte left is a stop like any other', async () => {
  const { ballast, house } = await startOn('size=24m')
  await useUpBytes(ballast)

  await expect(house.stop()).resolves.toBeUndefined()
})
