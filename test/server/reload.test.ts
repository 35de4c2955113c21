import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { expect, onTestFinished, test, vi } from 'vitest'
import { stringify } from 'yaml'
import type { Config } from '../../src/base/config.ts'
import { ask, open } from '../support/ask.ts'
import { type House, startHouse } from '../support/house.ts'
import { MillpondProcess } from '../support/process.ts'
import { OTHER_TLS, TEST_TLS } from '../support/tls.ts'
import { startUpstream } from '../support/upstream.ts'

const MIB = 1024 * 1024
const NAME = 'registry.test'

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-reload-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const withRules = (config: Config, rules: Partial<Config['upstreams'][string]>): Config => {
  const upstream = config.upstreams[NAME]
  if (!upstream) throw new Error('no upstream')
  return { ...config, upstreams: { ...config.upstreams, [NAME]: { ...upstream, ...rules } } }
}

const withCap = (config: Config, bytes: number): Config => ({ ...config, disk: { ...config.disk, cap: { bytes } } })

/** What the files of blobs and spools come to. */
async function bytesIn(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true })
  const blobs = names.filter((name) => /^(?:blobs\/sha256|spools)\/./.test(name))
  const sizes = await Promise.all(blobs.map(async (name) => (await stat(join(folder, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

async function pullAll(house: House, image: ReturnType<Awaited<ReturnType<typeof startUpstream>>['addImage']>) {
  await house.getManifest('library/app', 'v1')
  for (const { digest } of [image.config, ...image.layers]) await house.getBlob('library/app', digest)
  await house.quiet()
}

test('fault 90: a lowered cap takes effect at once: what is over it goes, readers read on, and the books are the disk', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1', { layers: 8, layerBytes: MIB })
  await using house = await startHouse(fake)
  await pullAll(house, image)
  const [first = image.config] = image.layers
  const reading = await open(`${house.origin}/v2/library/app/blobs/${first.digest}`)

  expect(house.server.reload(withCap(house.config, 4 * MIB))).toEqual([])
  const { disk } = house.server
  await vi.waitFor(() => expect(disk.usedBytes).toBeLessThanOrEqual(3.6 * MIB), 10_000)

  expect(Buffer.concat(await reading.toArray()).equals(image.bytesOf(first.digest))).toBe(true)
  expect(disk.capBytes).toBe(4 * MIB)
  await vi.waitFor(async () => expect(await bytesIn(house.folder)).toBe(disk.usedBytes), 10_000)
  expect(disk.usedBytes).toBeGreaterThan(2 * MIB)
})

test('patterns are obeyed from then on, also by requests that were remembered', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1')
  await using house = await startHouse(fake)
  for (let time = 0; time < 2; time += 1) expect((await house.getManifest('library/app', 'v1')).status).toBe(200)

  house.server.reload(withRules(house.config, { deny: ['library/**'] }))
  const denied = await house.getManifest('library/app', 'v1')
  const deniedBlob = await house.getBlob('library/app', image.config.digest)
  house.server.reload(house.config)

  expect([denied.status, deniedBlob.status]).toEqual([404, 404])
  expect((await house.getManifest('library/app', 'v1')).status).toBe(200)
})

test('tag policies are obeyed from a tag’s next check on, and pins at once', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1', { layers: 4, layerBytes: MIB })
  await using house = await startHouse(fake)
  await pullAll(house, image)
  fake.addImage('library/app', 'v2')
  const asked = () => fake.requests.filter((request) => request.startsWith('HEAD')).length

  const rule = { match: '**', fresh: 0, stale: 0, staleIfError: 0, negative: 0, gone: 'refuse' } as const
  house.server.reload(withCap(withRules(house.config, { tags: [rule], pin: ['library/app'] }), 2 * MIB))
  await house.getManifest('library/app', 'v2')
  const before = asked()
  await house.getManifest('library/app', 'v2')

  expect(asked()).toBe(before + 1)
  expect(house.server.disk.usedBytes).toBeGreaterThan(4 * MIB)
})

test('a certificate is shown anew to those who come; who is there stays', async () => {
  const folder = await newFolder()
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  await writeFile(cert, TEST_TLS.cert)
  await writeFile(key, TEST_TLS.key)
  await using fake = await startUpstream()
  await using house = await startHouse(fake, { tls: { cert, key } })
  const { listen } = house.server.facts()
  const shown = async () => {
    const socket = connect({ ...listen, rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const { serialNumber } = socket.getPeerCertificate()
    return { socket, serialNumber }
  }
  const before = await shown()

  await writeFile(cert, OTHER_TLS.cert)
  expect(() => house.server.reload(house.config)).toThrow() // its key is another's
  expect((await shown()).serialNumber).toBe(before.serialNumber)
  await writeFile(key, OTHER_TLS.key)
  house.server.reload(house.config)

  expect((await shown()).serialNumber).not.toBe(before.serialNumber)
  before.socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')
  const [answer] = await once(before.socket, 'data')
  expect(String(answer)).toContain('200 OK')
  before.socket.destroy()
})

test('kill -HUP: the file is read again, what waits for a restart is told by its key, and a broken file changes nothing', async () => {
  const folder = await newFolder()
  const file = join(folder, 'millpond.yaml')
  await using fake = await startUpstream()
  fake.addImage('library/app', 'v1')
  const write = (more: { cap?: string; deny?: string[]; listen?: string; level?: string } = {}) =>
    writeFile(
      file,
      stringify({
        listen: more.listen ?? '127.0.0.1:0',
        admin: { listen: '127.0.0.1:0' },
        disk: { folder: join(folder, 'data'), cap: more.cap ?? '2GiB' },
        log: { level: more.level ?? 'info' },
        upstreams: { [NAME]: { default: true, endpoints: [fake.origin], deny: more.deny ?? [] } },
      }),
    )
  await write()
  await using millpond = new MillpondProcess(['serve', '--config', file])
  const { origin, adminOrigin } = await millpond.serving()
  const hangUp = async (said: string) => {
    const times = millpond.out.split(said).length
    millpond.kill('SIGHUP')
    await vi.waitFor(() => expect(millpond.out.split(said).length).toBe(times + 1), 10_000)
  }
  const capSaid = async () =>
    /^millpond_disk_cap_bytes (\d+)/m.exec((await ask(`${adminOrigin}/metrics`)).body.toString())

  await write({ cap: '1GiB', deny: ['library/**'], listen: '127.0.0.1:1', level: 'warn' })
  millpond.kill('SIGHUP')
  await vi.waitFor(async () => expect((await capSaid())?.[1]).toBe(String(2 ** 30)), 10_000)
  expect((await ask(`${origin}/v2/library/app/manifests/v1`)).status).toBe(404)
  expect(millpond.out).toContain('"key":"listen.port","msg":"this key has changed: it needs a restart"')

  await writeFile(file, 'disk: { cap: nonsense }')
  await hangUp('the configuration could not be read again: the running one is kept')
  expect((await capSaid())?.[1]).toBe(String(2 ** 30))
  expect((await ask(`${origin}/v2/library/app/manifests/v1`)).status).toBe(404)

  await write()
  await hangUp('the configuration was read again')
  expect((await ask(`${origin}/v2/library/app/manifests/v1`)).status).toBe(200)
  millpond.kill('SIGTERM')
  expect((await millpond.ended()).status).toBe(0)
})
