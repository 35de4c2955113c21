import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ask, open } from '../support/ask.ts'
import { MillpondProcess } from '../support/process.ts'
import { startUpstream } from '../support/upstream.ts'

const MIB = 1024 * 1024
const KILLS = 5
const LAYERS = 4
const LAYER_BYTES = 12 * MIB

async function setUp() {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-kill-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const fake = await startUpstream()
  onTestFinished(() => fake[Symbol.asyncDispose]())
  const image = fake.addImage('library/app', 'v1', { layers: LAYERS, layerBytes: LAYER_BYTES })
  const environment = {
    MILLPOND_LISTEN: '127.0.0.1:0',
    MILLPOND_ADMIN_LISTEN: 'off',
    MILLPOND_DISK_FOLDER: folder,
    MILLPOND_DISK_CAP: '1GiB',
    MILLPOND_UPSTREAMS: JSON.stringify({ 'registry.test': { default: true, endpoints: [fake.origin] } }),
  }
  return { folder, fake, image, start: () => new MillpondProcess([], environment) }
}

/** Reads a blob until all clients together have so many bytes, then says so; reads on until it is cut. */
async function readUntil(url: string, enough: (bytes: number) => void): Promise<void> {
  try {
    for await (const piece of await open(url)) enough(piece.length)
  } catch {
    // The server was killed: that is the test.
  }
}

async function wrongBlobsIn(folder: string): Promise<string[]> {
  const blobs = join(folder, 'blobs', 'sha256')
  const names = await readdir(blobs).catch(() => [])
  const wrong = await Promise.all(
    names.map(async (name) => {
      const hex = createHash('sha256')
        .update(await readFile(join(blobs, name)))
        .digest('hex')
      return hex === name ? [] : [name]
    }),
  )
  return wrong.flat()
}

test('fault 33: killed at any byte of its fills it starts by itself, serves what is right, and goes on where it was', async () => {
  const { folder, fake, image, start } = await setUp()
  const blobs = image.layers.map(({ digest }) => `/v2/library/app/blobs/${digest}`)

  for (let kill = 0; kill < KILLS; kill += 1) {
    await using millpond = start()
    const { origin } = await millpond.serving()
    await ask(`${origin}/v2/library/app/manifests/v1`)
    let leftBytes = Math.round(((kill + 0.5) / KILLS) * LAYERS * LAYER_BYTES)
    const enough = (bytes: number) => {
      leftBytes -= bytes
      if (leftBytes <= 0) millpond.kill('SIGKILL')
    }
    await Promise.all(blobs.map((path) => readUntil(`${origin}${path}`, enough)))
    millpond.kill('SIGKILL')
    await millpond.ended()
    expect(await wrongBlobsIn(folder), `after kill ${kill}`).toEqual([])
  }

  await using millpond = start()
  const { origin } = await millpond.serving()
  await ask(`${origin}/v2/library/app/manifests/v1`)
  for (const [at, path] of blobs.entries()) {
    const { body, isWhole } = await ask(`${origin}${path}`)
    expect(isWhole).toBe(true)
    expect(body.equals(image.bytesOf(image.layers[at]?.digest ?? image.digest))).toBe(true)
  }
  // Each kill may cost what was on its way or not yet noted: 8 MiB a spool, and what the sockets held.
  expect(fake.bodyBytesSent).toBeLessThan((1 + KILLS * 0.5) * LAYERS * LAYER_BYTES)
}, 60_000)
