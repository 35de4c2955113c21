import { expect, test } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { parseReference } from '../../src/oci/names.ts'
import { seededBytes } from '../support/images.ts'
import { startUpstream } from '../support/upstream.ts'
import { bytesOf, faultOf, latest, never, openBlob, path, upstreamAt } from './support.ts'

test('a manifest comes whole with its type and what it claims to be', async () => {
  await using fake = await startUpstream()
  const image = fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(fake.origin)

  const told = await upstream.getManifest(path, latest, never)
  const head = await upstream.headManifest(path, latest, never)

  expect(told).toMatchObject({ at: 'found', digest: image.digest, bytes: image.manifest, isPublic: true })
  expect(head).toMatchObject({ at: 'found', digest: image.digest, sizeBytes: image.manifest.length })
})

test('a blob comes whole and in parts, with its size', async () => {
  await using fake = await startUpstream()
  const bytes = seededBytes(5, 3_000_000)
  const digest = fake.addBlob(bytes)
  await using upstream = upstreamAt(fake.origin)

  const whole = await openBlob(upstream, digest)
  const tail = await openBlob(upstream, digest, 2_999_990)
  const part = await openBlob(upstream, digest, 10, 20)

  expect(whole).toMatchObject({ at: 'found', start: 0, sizeBytes: 3_000_000 })
  expect((await bytesOf(whole)).equals(bytes)).toBe(true)
  expect(tail).toMatchObject({ start: 2_999_990, sizeBytes: 3_000_000 })
  expect(await bytesOf(tail)).toEqual(bytes.subarray(2_999_990))
  expect(await bytesOf(part)).toEqual(bytes.subarray(10, 20))
})

test('what upstream has not is absent, by every way of asking', async () => {
  await using fake = await startUpstream({ referrers: false })
  const digest = fake.addBlob(seededBytes(1, 10))
  fake.remove('library/a', digest)
  await using upstream = upstreamAt(fake.origin)

  const told = await Promise.all([
    upstream.getManifest(path, latest, never),
    upstream.headManifest(path, parseReference(digest), never),
    upstream.headBlob(path, digest, never),
    upstream.getTags(path, {}, never),
    upstream.getReferrers(path, digest, {}, never),
    openBlob(upstream, digest),
  ])

  expect(told.map(({ at }) => at)).toEqual(Array(6).fill('absent'))
})

test('tokens: one challenge, one token, and a warm pull needs no 401', async () => {
  await using fake = await startUpstream({ auth: { kind: 'bearer', users: { bot: 'pw' } } })
  const image = fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(fake.origin, { config: { accounts: [{ username: 'bot', password: 'pw' }] } })

  const first = await upstream.getManifest(path, latest, never)
  const second = await upstream.headBlob(path, image.config.digest, never)

  expect(first).toMatchObject({ at: 'found', isPublic: false })
  expect(second).toMatchObject({ at: 'found', isPublic: false, sizeBytes: image.config.size })
  expect(fake.requests).toHaveLength(4)
  expect(fake.tokens.requests.map(({ user }) => user)).toEqual(['bot'])
})

test('the next endpoint is asked when one fails, and not when one says 404', async () => {
  await using dead = await startUpstream()
  await using empty = await startUpstream()
  await using full = await startUpstream()
  full.addImage('library/a', 'latest')
  await dead.stop()
  await using failing = upstreamAt([dead.origin, full.origin])
  await using telling = upstreamAt([empty.origin, full.origin])
  await using alone = upstreamAt(dead.origin)

  expect(await failing.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  expect(await telling.getManifest(path, latest, never)).toEqual({ at: 'absent' })
  expect(await faultOf(alone.getManifest(path, latest, never))).toBe('upstreamFailed connect')
})

test('an endpoint that hangs is asked last for a while, so that it costs its patience once', async () => {
  await using hanging = await startUpstream()
  await using full = await startUpstream()
  const image = full.addImage('library/a', 'latest')
  hanging.behave({ match: /v2/, act: { hang: true } })
  const { clock, random } = systemOutside
  let sleptMs = 0
  const outside = {
    random,
    clock: {
      wallMs: () => clock.wallMs(),
      monotonicMs: () => clock.monotonicMs() + sleptMs,
      sleep: clock.sleep.bind(clock),
      after: clock.after.bind(clock),
    },
  }
  const timeouts = { connect: '1s', headers: '100ms' }
  await using upstream = upstreamAt([hanging.origin, full.origin], { config: { timeouts }, outside })
  const namesNow = () => upstream.endpoints.map(({ name }) => `http://${name}`)

  const first = await upstream.headManifest(path, latest, never)
  const second = await upstream.getManifest(path, latest, never)
  const askedLast = namesNow()

  expect([first.at, second.at]).toEqual(['found', 'found'])
  expect(await bytesOf(await openBlob(upstream, image.config.digest))).toHaveLength(image.config.size)
  sleptMs = 30_000
  expect(hanging.requests).toHaveLength(1)
  expect(askedLast).toEqual([full.origin, hanging.origin])
  expect(namesNow()).toEqual([hanging.origin, full.origin])
  expect(upstream.whole.first?.name).toBe(new URL(hanging.origin).host)
})
