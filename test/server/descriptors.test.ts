import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { expect, onTestFinished, test, vi } from 'vitest'
import { MillpondProcess } from '../support/process.ts'
import { startUpstream } from '../support/upstream.ts'

const MIB = 1024 * 1024

async function setUp() {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-descriptors-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const fake = await startUpstream()
  onTestFinished(() => fake[Symbol.asyncDispose]())
  const image = fake.addImage('library/app', 'v1', { layers: 2, layerBytes: MIB })
  const millpond = new MillpondProcess([], {
    MILLPOND_LISTEN: '127.0.0.1:0',
    MILLPOND_ADMIN_LISTEN: 'off',
    MILLPOND_DISK_FOLDER: folder,
    MILLPOND_DISK_CAP: '1GiB',
    MILLPOND_UPSTREAMS: JSON.stringify({ 'registry.test': { default: true, endpoints: [fake.origin] } }),
  })
  onTestFinished(() => millpond[Symbol.asyncDispose]())
  const { origin } = await millpond.serving()
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 }) // one connection, for all that is asked
  onTestFinished(() => agent.destroy())
  const get = (path: string) =>
    new Promise<{ status: number; retryAfter: string | undefined; body: Buffer }>((resolve, reject) => {
      const request = http.get(`${origin}/v2/library/app/${path}`, { agent }, async (response) => {
        const { statusCode: status = 0, headers } = response
        resolve({ status, retryAfter: headers['retry-after'], body: await buffer(response) })
      })
      request.once('error', reject)
    })
  const pid = millpond.child.pid ?? 0
  const limit = (descriptors: number) => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${descriptors}:`])
  const opened = async () => new Set((await readdir(`/proc/${pid}/fd`)).map(Number))
  await get('manifests/none')
  await fake.stop()
  await fake.start()
  const atRest = (await opened()).size // what is open to upstream has gone, or goes and leaves fewer
  /** The number that the next one would get, once what was closed is closed. */
  const nextFree = async () => {
    const open = await vi.waitFor(async () => {
      const found = await opened()
      expect(found.size).toBeLessThanOrEqual(atRest)
      return found
    }, 10_000)
    let number = 0
    while (open.has(number)) number += 1
    return number
  }
  return { fake, image, get, limit, nextFree }
}

test('fault 40: without a descriptor left what needs one is 503 with Retry-After, the rest is served, and it recovers', async () => {
  const { fake, image, get, limit, nextFree } = await setUp()
  const [held = image.config, cold = image.config] = image.layers
  expect((await get('manifests/v1')).body).toEqual(image.manifest)
  expect((await get(`blobs/${held.digest}`)).body.equals(image.bytesOf(held.digest))).toBe(true)

  await fake.stop() // what is open to it would do for these
  await fake.start()
  limit(await nextFree())
  const [manifest, heldBlob, coldBlob] = [
    await get('manifests/v1'),
    await get(`blobs/${held.digest}`),
    await get(`blobs/${cold.digest}`),
  ]
  limit(1024)

  expect(manifest.status).toBe(200)
  for (const refused of [heldBlob, coldBlob]) {
    expect([refused.status, Number(refused.retryAfter) > 0]).toEqual([503, true])
  }
  for (const { digest } of image.layers) {
    const isRight = async () => (await get(`blobs/${digest}`)).body.equals(image.bytesOf(digest))
    await vi.waitFor(async () => expect(await isRight()).toBe(true), 10_000)
  }
})
