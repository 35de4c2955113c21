import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { ask } from '../support/ask.ts'
import { MillpondProcess } from '../support/process.ts'
import { startUpstream } from '../support/upstream.ts'

const MIB = 1024 * 1024
const IDLE = 2_000
const STALLED = 500
const BLOB_BYTES = 8 * MIB
const LAYERS = 30

/** A real process that holds one image; a number of its own at /metrics. */
async function setUp(filesMax?: number) {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-crowd-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const fake = await startUpstream()
  onTestFinished(() => fake[Symbol.asyncDispose]())
  const image = fake.addImage('library/app', 'v1', { layers: LAYERS, layerBytes: BLOB_BYTES })
  const environment = {
    MILLPOND_LISTEN: '127.0.0.1:0',
    MILLPOND_ADMIN_LISTEN: '127.0.0.1:0',
    MILLPOND_DISK_FOLDER: folder,
    MILLPOND_DISK_CAP: '1GiB',
    MILLPOND_LOG_REQUESTS: 'false',
    MILLPOND_UPSTREAMS: JSON.stringify({ 'registry.test': { default: true, endpoints: [fake.origin] } }),
  }
  const millpond = new MillpondProcess([], environment, [], filesMax)
  onTestFinished(() => millpond[Symbol.asyncDispose]())
  const { origin } = await millpond.serving()
  const blob = `/v2/library/app/blobs/${image.layers[0]?.digest}`
  const pull = async () => {
    const manifest = await ask(`${origin}/v2/library/app/manifests/v1`)
    return [manifest.body, (await ask(origin + blob)).body] as const
  }
  const right = [image.manifest, image.bytesOf(image.layers[0]?.digest ?? image.digest)] as const
  const layers = image.layers.map(({ digest }) => `/v2/library/app/blobs/${digest}`)
  return { millpond, origin, port: Number(new URL(origin).port), blob, pull, right, layers }
}

async function crowd(count: number, port: number, text: string): Promise<readonly Socket[]> {
  const sockets: Socket[] = []
  onTestFinished(() => sockets.forEach((socket) => void socket.destroy()))
  for (let begun = 0; begun < count; begun += 500) {
    const some = Array.from({ length: Math.min(500, count - begun) }, () => connect(port, '127.0.0.1'))
    sockets.push(...some)
    await Promise.all(some.map((socket) => once(socket, 'connect')))
    if (text === '') continue
    await Promise.all(
      some.map((socket) =>
        once(
          socket.on('error', () => undefined),
          'readable',
          void socket.write(text),
        ),
      ),
    )
  }
  return sockets
}

const rssBytes = (pid: number | undefined): number =>
  Number(/^VmRSS:\s+([0-9]+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

test('fault 21: 2,000 idle and 500 stalled clients leave the others their whole pulls, and memory inside its bound', async () => {
  const { millpond, port, blob, pull, right } = await setUp()
  await pull()
  const before = rssBytes(millpond.child.pid)

  const idle = await crowd(IDLE, port, '')
  const stalled = await crowd(STALLED, port, `GET ${blob} HTTP/1.1\r\nHost: x\r\n\r\n`)
  for (let turn = 0; turn < 3; turn += 1) {
    const pulled = await Promise.all(Array.from({ length: 4 }, pull))
    for (const [manifest, bytes] of pulled) {
      expect(manifest.equals(right[0])).toBe(true)
      expect(bytes.equals(right[1])).toBe(true)
    }
  }
  const grownBytes = rssBytes(millpond.child.pid) - before

  expect(idle.filter(({ closed }) => closed)).toEqual([])
  expect(stalled.filter(({ closed }) => closed)).toEqual([])
  // two small buffers for each who stands still, 16 KiB for each connection, and what the pulls beside them leave
  expect(grownBytes).toBeLessThan(STALLED * 128 * 1024 + (IDLE + STALLED) * 16 * 1024 + 128 * MIB)
})

test('fault 40: with 64 descriptors it says so, takes fewer clients, tells the others to come again, and recovers', async () => {
  const { millpond, origin, port, pull, right, layers } = await setUp(64)
  expect(millpond.out).toContain('few files may be open')

  const held = await crowd(16, port, '')
  const beyond = await ask(`${origin}/v2/`)
  for (const socket of held) socket.destroy()
  await vi.waitFor(async () => expect((await ask(`${origin}/v2/`)).status).toBe(200))
  const cold = await Promise.all(layers.map((path) => ask(origin + path).catch(() => undefined)))
  const after = await vi.waitFor(pull, { timeout: 10_000 })

  expect(beyond.status).toBe(503)
  expect(beyond.headers['retry-after']).toBe('5')
  // each is whole, is told to come again, or was closed unheard: there was no descriptor to hear it by
  for (const each of cold) expect([200, 503, undefined]).toContain(each?.isWhole === false ? undefined : each?.status)
  expect(cold.some((each) => each?.status === 200)).toBe(true)
  expect(after[1].equals(right[1])).toBe(true)
  expect(millpond.child.exitCode).toBeNull()
})
