import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'

const MIB = 1024 * 1024
const WAIT = { timeout: 20_000, interval: 100 }

async function setUp() {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-lost-'))
  const mounts: string[] = []
  onTestFinished(async () => {
    for (const path of mounts.toReversed()) execFileSync('umount', ['-l', path])
    await rm(folder, { recursive: true, force: true })
  })
  const mount = (options: readonly string[], path: string) => {
    execFileSync('mount', [...options, path])
    mounts.push(path)
  }
  const unmount = (path: string) => {
    execFileSync('umount', ['-l', path])
    mounts.splice(mounts.lastIndexOf(path), 1)
  }
  mount(['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs'], folder)
  const upstream = await startUpstream()
  onTestFinished(() => upstream[Symbol.asyncDispose]())
  const image = upstream.addImage('library/app', 'v1', { layers: 3, layerBytes: MIB })
  const house = await startHouse(upstream, { folder })
  onTestFinished(() => house[Symbol.asyncDispose]())
  const ready = async () => (await house.askAdmin('/readyz')).status
  const pull = async () => {
    expect((await house.getManifest('library/app', 'v1')).body).toEqual(image.manifest)
    for (const { digest } of image.layers) {
      const { isWhole, body } = await house.getBlob('library/app', digest)
      expect(isWhole && body.equals(image.bytesOf(digest))).toBe(true)
    }
    await house.quiet()
  }
  return { folder, mount, unmount, house, ready, pull }
}

test('fault 38: folders that are read-only while running fail no pull; it is unready, and ready by itself once they are back', async () => {
  const { folder, mount, unmount, house, ready, pull } = await setUp()
  const places = [join(folder, 'spools'), join(folder, 'blobs', 'sha256')]
  for (const place of places) mount(['--bind', place], place)
  for (const place of places) execFileSync('mount', ['-o', 'remount,bind,ro', place])

  await pull()

  expect(await house.number('millpond_degraded{part="disk"}')).toBe(1)
  expect(await ready()).toBe(503)
  expect(house.server.disk.counts().blobs).toBe(0)
  for (const place of places) unmount(place)
  await vi.waitFor(async () => expect(await ready()).toBe(200), WAIT)
  await pull()
  expect(house.server.disk.counts().blobs).toBe(3) // the manifest is in memory, and needs no disk
})

test('fault 38: a volume that is gone from under the folder is not begun anew elsewhere, and is taken again when it is back', async () => {
  const { folder, mount, unmount, house, ready, pull } = await setUp()
  await pull()
  mount(['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs'], folder)

  await pull()
  expect(await ready()).toBe(503)
  await vi.waitFor(() => expect(house.logged.join('')).toContain('is not on the volume where it was'), WAIT)

  expect((await readdir(folder)).filter((name) => name.includes('sqlite'))).toEqual([])
  expect(await house.number('millpond_degraded{part="disk"}')).toBe(1)
  unmount(folder)
  await vi.waitFor(async () => expect(await ready()).toBe(200), WAIT)
  expect(house.server.disk.counts().blobs).toBeGreaterThanOrEqual(4)
  await pull()
})
