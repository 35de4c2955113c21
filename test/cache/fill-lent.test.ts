import { expect, test } from 'vitest'
import { OciError } from '../../src/base/errors.ts'
import { KIB, MIB } from '../../src/base/units.ts'
import { Blame } from '../../src/cache/blame.ts'
import { idOf, type Source } from '../../src/cache/source.ts'
import { Sources } from '../../src/cache/sources.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { seededBytes } from '../support/images.ts'
import { pullWhole, ScriptedSource, startFills } from './fill-support.ts'

const blob = seededBytes(31, 1 * MIB)
const DIGEST = digestOf(blob)

/** A source of a repository's right. */
const of = (right: string, source: ScriptedSource): Source => ({
  name: source.name,
  of: right,
  open: (asked, signal) => source.open(asked, signal),
})

test('a fill whose starter is refused after progress goes on from what a joiner lent, at the same byte', async () => {
  await using house = await startFills()
  const own = new ScriptedSource(
    'a',
    blob,
    (turn) => (turn === 0 ? { cutAfter: 512 * KIB } : { at: 'denied' }),
    64 * KIB,
  )
  const lent = new ScriptedSource('a', blob)
  const fill = house.join(blob, [of('mine', own)])
  house.fills.lend(fill, [of('yours', lent)])

  const got = await pullWhole(fill, blob)

  expect(got.error).toBeUndefined()
  expect(got.bytes.equals(blob)).toBe(true)
  expect(lent.asked).toEqual([{ start: 512 * KIB, end: 1 * MIB }])
})

test('fault 75: what a joiner lent tells the starter nothing: refused from the first, the fill ends refused', async () => {
  await using house = await startFills()
  const own = new ScriptedSource('a', blob, () => ({ at: 'denied' }))
  const lent = new ScriptedSource('a', blob)
  const fill = house.join(blob, [of('mine', own)])
  house.fills.lend(fill, [of('yours', lent)])

  expect(await fill.ended).toEqual({ at: 'failed', why: { at: 'denied' } })
  expect(lent.asked).toEqual([])
})

test('why a fill failed is what its starter’s own sources said, not what a joiner’s did', async () => {
  await using house = await startFills()
  const own = new ScriptedSource(
    'a',
    blob,
    (turn) => (turn === 0 ? { cutAfter: 512 * KIB } : { at: 'denied' }),
    64 * KIB,
  )
  const error = new OciError('upstreamFailed', 'not to be told', { fault: 'status' })
  const lent = new ScriptedSource('a', blob, () => ({ error }))
  const fill = house.join(blob, [of('mine', own)])
  house.fills.lend(fill, [of('yours', lent)])

  expect(await fill.ended).toMatchObject({ at: 'failed', why: { at: 'error', error: { fault: 'cut' } } })
  expect(lent.asked.length).toBeGreaterThan(0)
})

test('what a joiner lent is not asked while a source of the starter’s may still bring the bytes', async () => {
  await using house = await startFills()
  const own = new ScriptedSource('a', blob, (turn) => (turn < 3 ? { cutAfter: 128 * KIB } : {}), 64 * KIB)
  const liar = new ScriptedSource('b', blob, () => ({ flipAt: 700_000 }))
  const fill = house.join(blob, [of('mine', own)])
  house.fills.lend(fill, [of('yours', liar)])

  const got = await pullWhole(fill, blob)

  expect(got.bytes.equals(blob)).toBe(true)
  expect(liar.asked).toEqual([])
})

test('one repository’s lies are no blame for the same endpoint in another, and a liar is not lent', () => {
  const mine = of('mine', new ScriptedSource('a', blob))
  const yours = of('yours', new ScriptedSource('a', blob))
  const blame = new Blame()
  const error = new OciError('upstreamFailed', 'other bytes', { fault: 'digest' })

  blame.note(DIGEST, { at: 'mismatch', liars: [idOf(yours)], error })

  expect(blame.trusted(DIGEST, [mine])).toEqual([mine])
  expect(blame.unblamed(DIGEST, [mine, yours])).toEqual([mine])
})

test('a fill is lent no more than 64 sources, and none twice', () => {
  const sources = new Sources([of('0', new ScriptedSource('a', blob))])

  for (let at = 0; at < 200; at++) sources.add([of(String(at % 100), new ScriptedSource('a', blob))])

  expect(sources.groups.flat()).toHaveLength(64)
})
