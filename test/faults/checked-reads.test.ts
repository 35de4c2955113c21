import { closeSync, openSync, readFileSync, readSync, statSync, utimesSync, writeSync } from 'node:fs'
import { rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { type Clock, type Outside, systemOutside } from '../../src/base/clock.ts'
import { MIB } from '../../src/base/units.ts'
import { type Digest, hexOf } from '../../src/oci/digest.ts'
import { type Answered, open } from '../support/ask.ts'
import { type House, startHouse } from '../support/house.ts'
import { seededBytes } from '../support/images.ts'
import type { Seen } from '../support/misbehave.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'

const SIZE = 2 * MIB + 321
/** More than the sockets between us and a client who doesn't read can take. */
const LONG_SIZE = 10 * MIB + 321

function flip(path: string, at: number): void {
  const fd = openSync(path, 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, at)
  byte.writeUInt8(byte.readUInt8() ^ 1)
  writeSync(fd, byte, 0, 1, at)
  closeSync(fd)
}

/** What happens to a blob's file of `bytes` bytes. */
const SPOILS: Readonly<Record<string, (path: string, bytes: number) => unknown>> = {
  'its first byte flipped': (path) => flip(path, 0),
  'a byte in its middle flipped': (path, bytes) => flip(path, bytes >> 1),
  'its last byte flipped': (path, bytes) => flip(path, bytes - 1),
  truncated: (path, bytes) => truncate(path, bytes >> 1),
  grown: (path) => writeFile(path, 'more', { flag: 'a' }),
  emptied: (path) => truncate(path, 0),
  'replaced by another file of its size': async (path, bytes) => {
    await writeFile(`${path}.other`, seededBytes(99, bytes))
    await rename(`${path}.other`, path)
  },
  removed: (path) => rm(path),
}

type Held = {
  readonly how: string
  readonly digest: Digest
  readonly bytes: Buffer
  readonly path: string
  readonly spoil: () => Promise<unknown>
}

/** A blob for each thing that can happen to it, pulled and on the disk. */
async function holdOneForEach(house: House, upstream: FakeUpstream, sizeBytes: number): Promise<readonly Held[]> {
  const held: Held[] = []
  for (const [seed, [how, spoil]] of Object.entries(SPOILS).entries()) {
    const bytes = seededBytes(500 + seed, sizeBytes)
    const digest = upstream.addBlob(bytes)
    const path = pathOf(house, digest)
    expect((await house.getBlob('library/a', digest)).body.equals(bytes)).toBe(true)
    held.push({ how, digest, bytes, path, spoil: async () => spoil(path, bytes.length) })
  }
  await house.quiet()
  return held
}

const pathOf = (house: House, digest: Digest): string => join(house.folder, 'blobs', 'sha256', hexOf(digest))
/** `removed` leaves nothing to be set aside. */
const SET_ASIDE = Object.keys(SPOILS).length - 1
const quarantined = (house: House) => house.number('millpond_quarantined_total')
const isAnsweredWhole = ({ status, isWhole }: Answered) => status < 300 && isWhole

const ASKED = [
  { what: 'whole', range: {}, status: 200, from: 0 },
  { what: 'by range', range: { range: 'bytes=1-' }, status: 206, from: 1 },
] as const
const STOPS = [
  { when: 'while running', isStopped: false },
  { when: 'while stopped', isStopped: true },
] as const

for (const { when, isStopped } of STOPS) {
  for (const { what, range, status, from } of ASKED) {
    test(`fault 36: whatever befell a blob's file ${when}, who asks for it ${what} gets its bytes`, async () => {
      await using upstream = await startUpstream()
      await using house = await startHouse(upstream)
      const held = await holdOneForEach(house, upstream, SIZE)

      if (isStopped) await house.stop()
      for (const { spoil } of held) await spoil()
      if (isStopped) await house.start()

      for (const { how, digest, bytes } of held) {
        const head = await house.getBlob('library/a', digest, { method: 'HEAD' })
        const answer = await house.getBlob('library/a', digest, { headers: range })
        expect([head.status, head.headers['content-length']], how).toEqual([200, String(SIZE)])
        expect([answer.status, answer.isWhole], how).toEqual([status, true])
        expect(answer.body.equals(bytes.subarray(from)), how).toBe(true)
      }
      expect(await quarantined(house)).toBe(SET_ASIDE)
      await house.quiet()
      for (const { path, bytes } of held) expect(readFileSync(path).equals(bytes)).toBe(true)
    })

    test(`fault 36: … ${when}, and with upstream down, asked for ${what}, never a body that looks whole and is wrong`, async () => {
      await using upstream = await startUpstream()
      await using house = await startHouse(upstream)
      const held = await holdOneForEach(house, upstream, SIZE)
      await upstream.stop()

      if (isStopped) await house.stop()
      for (const { spoil } of held) await spoil()
      if (isStopped) await house.start()

      for (const { how, digest, bytes } of held) {
        const head = how === 'removed' ? await house.getBlob('library/a', digest, { method: 'HEAD' }) : undefined
        const answer = await house.getBlob('library/a', digest, { headers: range })
        expect(head?.status ?? 502, how).toBe(502)
        expect(isAnsweredWhole(answer), how).toBe(false)
        if (answer.status < 300)
          expect(answer.body.equals(bytes.subarray(from, from + answer.body.length)), how).toBe(true)
      }
      expect(await quarantined(house)).toBe(SET_ASIDE)
    })
  }
}

for (const isUp of [true, false]) {
  test(`fault 36: what befalls the file under a reader never reaches him, upstream ${isUp ? 'up' : 'down'}`, async () => {
    await using upstream = await startUpstream()
    await using house = await startHouse(upstream)
    const held = await holdOneForEach(house, upstream, LONG_SIZE)
    if (!isUp) await upstream.stop()

    for (const { how, digest, bytes, spoil } of held) {
      const message = await open(`${house.origin}/v2/library/a/blobs/${digest}`)
      const pieces: Buffer[] = []
      let isSpoilt = false
      try {
        for await (const piece of message) {
          pieces.push(piece)
          if (!isSpoilt) await spoil()
          isSpoilt = true
        }
      } catch {
        // cut: `complete` says so
      }
      const body = Buffer.concat(pieces)

      expect(body.equals(bytes.subarray(0, body.length)), how).toBe(true)
      if (isUp) expect([message.complete, body.length], how).toEqual([true, LONG_SIZE])
      else expect(message.complete, how).toBe(body.length === LONG_SIZE)
      const again = await house.getBlob('library/a', digest)
      if (isUp) expect(again.isWhole && again.body.equals(bytes), how).toBe(true)
      else expect(isAnsweredWhole(again), how).toBe(false)
    }
    expect(await quarantined(house)).toBe(SET_ASIDE)
  })
}

test('fault 36: what befalls the file under a reader of the very fill that brought it never reaches him', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)

  for (const [seed, [how, spoil]] of Object.entries(SPOILS).entries()) {
    const bytes = seededBytes(600 + seed, LONG_SIZE)
    const digest = upstream.addBlob(bytes)
    const message = await open(`${house.origin}/v2/library/a/blobs/${digest}`)
    const pieces: Buffer[] = []
    for await (const piece of message) {
      if (pieces.length === 0) await house.quiet() // it is a blob by now, and this reader has not seen its end
      if (pieces.length === 0) await spoil(pathOf(house, digest), LONG_SIZE)
      pieces.push(piece)
    }

    expect(message.complete, how).toBe(true)
    expect(Buffer.concat(pieces).equals(bytes), how).toBe(true)
  }
})

test('fault 36: who was sent some of a blob from the disk goes on from upstream at the byte where it is wrong', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const bytes = seededBytes(7, LONG_SIZE)
  const digest = upstream.addBlob(bytes)
  await house.getBlob('library/a', digest)
  await house.quiet()
  upstream.requests.length = 0
  flip(pathOf(house, digest), 9 * MIB + 7)

  const { status, isWhole, body } = await house.getBlob('library/a', digest)

  expect([status, isWhole, body.equals(bytes)]).toEqual([200, true, true])
  expect(upstream.blobRequests(digest).some((request) => request.includes(`bytes=${9 * MIB}-`))).toBe(true)
})

test('fault 36: a slow reader of a fill that has ended is given no byte that changed on the disk since', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const bytes = seededBytes(11, LONG_SIZE)
  const digest = upstream.addBlob(bytes)
  const message = await open(`${house.origin}/v2/library/a/blobs/${digest}`)
  await house.quiet()
  flip(pathOf(house, digest), 9 * MIB)

  const body = Buffer.concat(await message.toArray())

  expect(message.complete && body.equals(bytes)).toBe(true)
  expect(await quarantined(house)).toBe(1)
})

test('fault 36: a byte that changes on the disk while its blob still fills is in no body that looks whole', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const bytes = seededBytes(12, LONG_SIZE + 200 * 1024)
  const digest = upstream.addBlob(bytes)
  const read = Promise.withResolvers<void>()
  upstream.behave({ match: /GET .*\/blobs\//, act: { until: read.promise } })
  upstream.behave({ match: /GET .*\/blobs\//, act: { cutAfter: 10 * MIB }, times: 1 })
  const message = await open(`${house.origin}/v2/library/a/blobs/${digest}`)
  const spool = join(house.folder, 'spools', `sha256-${hexOf(digest)}`)
  await vi.waitFor(() => expect(statSync(spool).size).toBeGreaterThanOrEqual(10 * MIB), { timeout: 10_000 })
  flip(spool, 9 * MIB + 5) // by then more has come than what the sockets hold, and nobody read it

  const pieces: Buffer[] = []
  let left = 10 * MIB
  try {
    for await (const piece of message) {
      pieces.push(piece)
      left -= piece.length
      if (left <= 0) read.resolve()
    }
  } catch {
    read.resolve() // cut: `complete` says so
  }

  expect([message.complete, Buffer.concat(pieces).equals(bytes)]).not.toEqual([true, false])
  await house.quiet()
  const again = await house.getBlob('library/a', digest)
  expect(again.isWhole && again.body.equals(bytes)).toBe(true)
})

test('fault 36: the tail of such a body waits for the digest of what upstream sends now', async () => {
  await using upstream = await startUpstream()
  await using house = await startHouse(upstream)
  const image = upstream.addImage('library/a', 'v1', { layers: 1, layerBytes: SIZE })
  const digest = image.layers[0]?.digest ?? image.digest
  const bytes = image.bytesOf(digest)
  await house.getManifest('library/a', 'v1') // so that the size is known, and a range could be asked for
  await house.getBlob('library/a', digest)
  await house.quiet()
  const isFront = ({ range }: Seen) => range === undefined || range.startsWith('bytes=0-')
  upstream.behave({
    match: /GET .*\/blobs\//,
    act: (seen) => (isFront(seen) ? { corruptAt: 0, delayMs: 300 } : {}),
  })
  flip(pathOf(house, digest), MIB)

  const { isWhole, body } = await house.getBlob('library/a', digest)

  expect(isWhole).toBe(false)
  expect(body.equals(bytes.subarray(0, body.length))).toBe(true)
  expect(body.length).toBeLessThanOrEqual(SIZE - 64 * 1024)
})

for (const isUp of [true, false]) {
  test(`fault 36: a manifest or config whose file was spoilt while stopped is never answered, upstream ${isUp ? 'up' : 'down'}`, async () => {
    await using upstream = await startUpstream()
    await using house = await startHouse(upstream)
    const images = Object.entries(SPOILS).map(([how, spoil], seed) => {
      return { how, spoil, image: upstream.addImage('library/a', `v${seed}`, { seed, layers: 0 }) }
    })
    for (const { image } of images) {
      expect((await house.getManifest('library/a', image.digest)).status).toBe(200)
      expect((await house.getBlob('library/a', image.config.digest)).status).toBe(200)
    }
    await house.quiet()
    if (!isUp) await upstream.stop()

    await house.stop()
    for (const { spoil, image } of images) {
      await spoil(pathOf(house, image.digest), image.manifest.length)
      await spoil(pathOf(house, image.config.digest), image.bytesOf(image.config.digest).length)
    }
    await house.start()

    for (const { how, image } of images) {
      for (let turn = 0; turn < 2; turn++) {
        const manifest = await house.getManifest('library/a', image.digest)
        const config = await house.getBlob('library/a', image.config.digest)
        expect([isAnsweredWhole(manifest), isAnsweredWhole(config)], how).toEqual([isUp, isUp])
        if (!isUp) continue
        expect(manifest.body.equals(image.manifest), how).toBe(true)
        expect(config.body.equals(image.bytesOf(image.config.digest)), how).toBe(true)
      }
    }
    expect(await quarantined(house)).toBe(2 * SET_ASIDE)
  })
}

/** The machine's clock, but that a test moves it on. */
function aheadClock(): Outside & { ahead(ms: number): void } {
  let aheadMs = 0
  const { clock, random } = systemOutside
  const moved: Clock = {
    wallMs: () => clock.wallMs() + aheadMs,
    monotonicMs: () => clock.monotonicMs() + aheadMs,
    sleep: (ms, signal) => clock.sleep(ms, signal),
    after: (ms, act) => clock.after(ms, act),
  }
  const ahead = (ms: number) => {
    aheadMs += ms
  }
  return { clock: moved, random, ahead }
}

test('fault 36: bits that rot without a trace are found once the last look is an hour old, and at each start', async () => {
  await using upstream = await startUpstream()
  const outside = aheadClock()
  await using house = await startHouse(upstream, { outside })
  const bytes = seededBytes(9, SIZE)
  const digest = upstream.addBlob(bytes)
  const path = pathOf(house, digest)
  const rot = () => {
    const { atime, mtime } = statSync(path)
    utimesSync(path, atime, mtime) // to the granularity at which it can be set back
    return () => {
      flip(path, MIB + 5)
      utimesSync(path, atime, mtime)
    }
  }
  await house.getBlob('library/a', digest)
  await house.quiet()

  const rotRunning = rot()
  await house.getBlob('library/a', digest)
  rotRunning()
  outside.ahead(3_600_000)
  expect((await house.getBlob('library/a', digest)).body.equals(bytes)).toBe(true)
  expect(await quarantined(house)).toBe(1)

  await house.quiet()
  const rotStopped = rot()
  await house.getBlob('library/a', digest)
  await house.stop()
  rotStopped()
  await house.start()
  expect((await house.getBlob('library/a', digest)).body.equals(bytes)).toBe(true)
  expect(await quarantined(house)).toBe(1)
})
