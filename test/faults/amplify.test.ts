import { expect, test } from 'vitest'
import { startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'

const LAYER_BYTES = 4 * 1024 * 1024

async function setUp() {
  const fake = await startUpstream()
  const image = fake.addImage('library/a', 'v1', { layers: 1, layerBytes: LAYER_BYTES })
  const house = await startHouse(fake)
  const digest = image.layers[0]?.digest ?? image.digest
  const get = (range: string) => house.getBlob('library/a', digest, { headers: { Range: range } })
  const dispose = async () => {
    await house[Symbol.asyncDispose]()
    await fake.stop()
  }
  return { fake, house, digest, get, bytes: image.bytesOf(digest), [Symbol.asyncDispose]: dispose }
}

const many = (count: number) => Array.from({ length: count }, (_, at) => `${at * 2}-${at * 2}`).join(',')

for (const [range, status, why] of [
  [`bytes=${many(1024)}`, 400, 'a thousand and twenty-four of them'],
  ['bytes=0-,0-,0-,0-,0-', 400, 'five times the whole'],
  ['bytes=0-9,5-14', 400, 'two that overlap'],
  ['bytes=9-5', 416, 'reversed'],
  [`bytes=${LAYER_BYTES}-`, 416, 'from the end on'],
  ['bytes=9999999999999999-', 416, 'from beyond all sizes'],
  ['bytes=-0', 416, 'the last none'],
  ['bytes=0-99999999999999999999', 200, 'no integer of ours: ignored'],
  ['bytes=-18446744073709551615', 200, 'a suffix that is no integer of ours'],
  ['bytes=-9999999999999999', 206, 'a suffix over the size: the whole'],
  [`bytes=${LAYER_BYTES - 1}-`, 206, 'the last byte'],
] as const) {
  test(`fault 26: ${range.slice(0, 30)} of a blob is ${status}, cold and held: ${why}`, async () => {
    await using given = await setUp()

    const cold = await given.get(range)
    await given.house.quiet()
    const held = await given.get(range)

    for (const { status: got, headers, body } of [cold, held]) {
      expect(got).toBe(status)
      expect(body.length).toBeLessThanOrEqual(LAYER_BYTES)
      if (status === 416) expect(headers['content-range']).toBe(`bytes */${LAYER_BYTES}`)
    }
    expect(given.fake.bodyBytesSent).toBeLessThanOrEqual(1.01 * LAYER_BYTES)
  })
}

test('fault 27: one byte of a cold blob, asked for a hundred times at a hundred places, costs its bytes once', async () => {
  await using given = await setUp()
  const places = Array.from({ length: 100 }, (_, at) => Math.floor((at * LAYER_BYTES) / 100))

  const answers = await Promise.all(places.map((at) => given.get(`bytes=${at}-${at}`)))
  await given.house.quiet()

  expect(answers.map(({ status }) => status)).toEqual(places.map(() => 206))
  expect(answers.map(({ body }) => body[0])).toEqual(places.map((at) => given.bytes[at]))
  expect(given.fake.bodyBytesSent).toBeLessThanOrEqual(1.05 * LAYER_BYTES)
})

test('fault 69: a page of a billion tags is one of a thousand upstream, and the catalog is not served', async () => {
  await using given = await setUp()

  for (const n of ['1000000000', '1001', '1000', '1e9', '-1', '0x10'])
    await given.house.ask(`/v2/library/a/tags/list?n=${n}`)
  const catalog = await given.house.ask('/v2/_catalog?n=1000000000')

  const asked = given.fake.requestsOf('tags/list').map((each) => Number(/[?&]n=([^&]*)/.exec(each)?.[1] ?? 0))
  expect(Math.max(...asked)).toBe(1000)
  expect(catalog.status).toBe(404)
  expect(catalog.body.toString()).toContain('UNSUPPORTED')
  expect(given.fake.requestsOf('catalog')).toEqual([])
})
