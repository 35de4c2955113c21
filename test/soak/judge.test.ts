/* The judge can fail: a Millpond that does wrong is played by an upstream that does. */
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import type { Digest } from '../../src/oci/digest.ts'
import type { FakeImage } from '../support/content.ts'
import type { Act } from '../support/misbehave.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'
import { type Asking, fetchFrom, type Got } from './fetch.ts'
import { type Circumstances, type Crime, Judge } from './judge.ts'
import { Random } from './random.ts'
import { scheduleOf } from './schedule.ts'
import { Truth } from './truth.ts'

const HOST = 'plain.test'
const ASKED = { host: HOST, path: 'team/app', tag: 'latest' }
const WINDOWS = { freshMs: 3_000, errorMs: 30_000, negativeMs: 3_000 }

let proxy: FakeUpstream
let image: FakeImage
let truth: Truth
let layer: Digest

beforeEach(async () => {
  proxy = await startUpstream()
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  image = proxy.addImage(ASKED.path, ASKED.tag, { layers: 1, layerBytes: 200_000 })
  layer = image.layers[0]?.digest ?? image.digest
  truth = new Truth()
  truth.say(`${HOST}/${ASKED.path}`, ASKED.tag, image.digest, performance.now())
})

function judgeOf(more: Partial<Circumstances> = {}): Judge {
  const bytesOf = new Map([
    [layer, image.bytesOf(layer)],
    [image.digest, image.manifest],
  ])
  const well = {
    wasDisturbed: () => false,
    wasDrained: () => false,
    lastLieMs: () => undefined,
    doubtSinceMs: () => Number.NEGATIVE_INFINITY,
  }
  const hadRight = (isGiven: boolean) => isGiven
  return new Judge({ truth, windows: WINDOWS, bytesOf, ...well, hadRight, ...more })
}

/** What a client gets of a proxy that does `act` to every request. */
async function got(path: string, act: Act = {}, asking: Partial<Asking> = {}): Promise<Got> {
  proxy.behave({ match: () => true, act })
  return await fetchFrom(proxy.origin, `/v2/${ASKED.path}/${path}`, { signal: AbortSignal.timeout(10_000), ...asking })
}

const crimesOf = (judge: Judge): Partial<Record<Crime, number>> =>
  Object.fromEntries([...judge.crimes].flatMap(([name, { count }]) => (count > 0 ? [[name, count]] : [])))

test('a proxy that gives what upstream has is found to do nothing wrong', async () => {
  const judge = judgeOf()

  judge.content(await got(`blobs/${layer}`), HOST, layer)
  judge.content(await got(`blobs/${layer}`, {}, { headers: { range: 'bytes=5-999999' } }), HOST, layer)
  judge.content(await got(`blobs/${layer}`, {}, { method: 'HEAD' }), HOST, layer)
  judge.tag(await got('manifests/latest'), ASKED)

  expect(judge.isClean).toBe(true)
  expect(judge.counts.get('whole')).toBe(4)
})

for (const [why, act, asking, crimes] of [
  ['its last bit is another one', { corruptAt: -1 }, {}, { 'wrong bodies': 1 }],
  ['it is shorter, and says so', { body: Buffer.alloc(10) }, {}, { 'wrong bodies': 1 }],
  ['it is a page', { body: '<html>', headers: { 'content-type': 'text/html' } }, {}, { 'wrong bodies': 1 }],
  ['it says that it is another', { headers: { 'docker-content-digest': 'sha256:0' } }, {}, { 'wrong bodies': 1 }],
  ['a HEAD tells another length', { lengthBy: 1 }, { method: 'HEAD' }, { 'wrong bodies': 1 }],
  ['a part of it is another part', { range: 'shifted' }, { headers: { range: 'bytes=9-' } }, { 'wrong bodies': 1 }],
  ['a part has a wrong byte', { corruptAt: 3 }, { headers: { range: 'bytes=9-99' } }, { 'wrong bodies': 1 }],
  ['a part is of a larger one', { range: 'otherTotal' }, { headers: { range: 'bytes=9-99' } }, { 'wrong bodies': 1 }],
  ['it is said not to be there', { status: 404 }, {}, { 'false absences': 1 }],
  ['there is an error of ours', { status: 500 }, {}, { 'internal errors': 1, 'failed without a fault': 1 }],
  ['there is no answer', { refuse: true }, {}, { unanswered: 1, 'failed without a fault': 1 }],
  ['it is cut', { cutAfter: 70_000 }, {}, { 'failed without a fault': 1 }],
  ['it is refused', { status: 502 }, {}, { 'failed without a fault': 1 }],
] as const) {
  test(`a blob: ${why}`, async () => {
    const judge = judgeOf()

    judge.content(await got(`blobs/${layer}`, act, asking), HOST, layer)

    expect(crimesOf(judge)).toEqual(crimes)
  })
}

test('a failure is forgiven where upstream failed, or the server was down', async () => {
  const judges = [judgeOf({ lastLieMs: () => performance.now() }), judgeOf({ wasDisturbed: () => true })]

  for (const judge of judges) {
    judge.content(await got(`blobs/${layer}`, { cutAfter: 70_000 }), HOST, layer)
    judge.content(await got(`blobs/${layer}`, { status: 502 }), HOST, layer)
  }

  expect(judges.map(crimesOf)).toEqual([{}, {}])
  expect(judges.map(({ counts }) => counts.get('cut') ?? counts.get('cut: down'))).toEqual([1, 1])
})

test('a body that had begun before a drain ends in order', async () => {
  const judge = judgeOf({ wasDisturbed: () => true, wasDrained: () => true })

  judge.content(await got(`blobs/${layer}`), HOST, layer)
  expect(judge.isClean).toBe(true)
  judge.content(await got(`blobs/${layer}`, { cutAfter: 70_000 }), HOST, layer)

  expect(crimesOf(judge)).toEqual({ 'failed without a fault': 1 })
})

test('a range with wrong bytes is forgiven where upstream sent them and nothing was held, never for a hit', async () => {
  const judge = judgeOf({ lastLieMs: (kind) => (kind === 'flip' ? performance.now() : undefined) })
  const asking = { headers: { range: 'bytes=9-99' } }

  judge.content(await got(`blobs/${layer}`, { corruptAt: 3 }, asking), HOST, layer)
  expect(judge.isClean).toBe(true)
  const headers = { 'cache-status': 'millpond; hit' }
  judge.content(await got(`blobs/${layer}`, { corruptAt: 3, headers }, asking), HOST, layer)

  expect(crimesOf(judge)).toEqual({ 'wrong bodies': 1 })
})

for (const [why, agoMs, facts, faultAgoMs, crimes] of [
  ['it was true within its windows', 2_000, 'hit', undefined, {}],
  ['it was true too long ago', 4_000, 'hit', undefined, { 'untrue tags': 1 }],
  ['it stands in for an upstream that was well', 4_000, 'fwd=stale', undefined, { 'untrue tags': 1 }],
  ['it stands in for an upstream that failed', 4_000, 'fwd=stale', 1_000, {}],
  ['it stands in for longer than it may', 40_000, 'fwd=stale', 1_000, { 'untrue tags': 1 }],
] as const) {
  test(`a tag that points elsewhere by now: ${why}`, async () => {
    truth = new Truth()
    const nowMs = performance.now()
    truth.say(`${HOST}/${ASKED.path}`, ASKED.tag, image.digest, nowMs - 100_000)
    truth.say(`${HOST}/${ASKED.path}`, ASKED.tag, layer, nowMs - agoMs)
    const judge = judgeOf({ lastLieMs: () => faultAgoMs && nowMs - faultAgoMs })

    judge.tag(await got('manifests/latest', { headers: { 'cache-status': `millpond; ${facts}` } }), ASKED)

    expect(crimesOf(judge)).toEqual(crimes)
  })
}

test('a tag that is not there any more may be absent, one that is there may not', async () => {
  const gone = { ...ASKED, tag: 'gone' }
  truth.say(`${HOST}/${ASKED.path}`, 'gone', image.digest, 0)
  truth.say(`${HOST}/${ASKED.path}`, 'gone', undefined, performance.now())
  const judge = judgeOf()

  judge.tag(await got('manifests/gone'), gone)
  expect(judge.isClean).toBe(true)
  judge.tag(await got('manifests/latest', { status: 404 }), ASKED)

  expect(crimesOf(judge)).toEqual({ 'false absences': 1 })
})

test('what is shown to somebody who may not have it is a leak, by HEAD and by a range too', async () => {
  const judge = judgeOf()

  judge.forbidden(await got(`blobs/${layer}`, { status: 404 }), 'a layer')
  expect(judge.isClean).toBe(true)
  judge.forbidden(await got(`blobs/${layer}`), 'a layer')
  judge.forbidden(await got(`blobs/${layer}`, {}, { method: 'HEAD' }), 'a layer')
  judge.forbidden(await got(`blobs/${layer}`, {}, { headers: { range: 'bytes=0-0' } }), 'a layer')

  expect(crimesOf(judge)).toEqual({ leaks: 3 })
})

test('what is private is shown to its tenant as long as he has the right, and is not denied to him meanwhile', async () => {
  const judge = judgeOf()
  judge.owned(await got(`blobs/${layer}`), HOST, layer)
  expect(judge.isClean).toBe(true)

  judge.owned(await got(`blobs/${layer}`, { status: 404 }), HOST, layer)
  expect(crimesOf(judge)).toEqual({ 'false absences': 1 })

  const late = judgeOf({ hadRight: (isGiven) => !isGiven })
  late.owned(await got(`blobs/${layer}`, { status: 404 }), HOST, layer)
  expect(late.isClean).toBe(true)
  late.owned(await got(`blobs/${layer}`, { status: 200 }), HOST, layer)
  expect(crimesOf(late)).toEqual({ leaks: 1 })
})

test('an answer that begins too late is told, unless the server was down meanwhile', async () => {
  const late = { ...(await got(`blobs/${layer}`)), beganMs: performance.now() - 60_000 }
  const judge = judgeOf()
  const lenient = judgeOf({ wasDisturbed: () => true })

  judge.content(late, HOST, layer)
  lenient.content(late, HOST, layer)

  expect(crimesOf(judge)).toEqual({ 'late answers': 1 })
  expect(lenient.isClean).toBe(true)
})

test('the same seed draws the same faults, another one draws others', () => {
  const draw = (seed: number) => scheduleOf(new Random(seed).fork('faults'), 60_000)

  expect(draw(7)).toEqual(draw(7))
  expect(draw(7)).not.toEqual(draw(8))
  expect(new Set(draw(7).map(({ kind }) => kind)).size).toBeGreaterThan(8)
})
