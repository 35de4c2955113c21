import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseDigest } from '../../src/oci/digest.ts'
import { contentRangeOf, rangeOf, selectionOf, unsatisfiedRangeOf } from '../../src/registry/range.ts'

const digest = parseDigest(`sha256:${'a'.repeat(64)}`)
const etag = `"${digest}"`

for (const [header, sizeBytes, want, why] of [
  [undefined, 10, 'whole', 'none was asked for'],
  ['bytes=0-4', 10, '0-5', 'both ends count'],
  ['bytes=0-0', 10, '0-1', 'one byte is a range'],
  ['bytes=9-9', 10, '9-10', 'the last byte'],
  ['bytes=3-', 10, '3-10', 'an open end runs to the last byte'],
  ['bytes=0-', 10, '0-10', 'the whole may be asked for as a range'],
  ['bytes=-3', 10, '7-10', 'a suffix'],
  ['bytes=-30', 10, '0-10', 'a suffix over the size is all there is'],
  ['bytes=5-99', 10, '5-10', 'an end beyond the size is cut'],
  ['bytes=0-9007199254740993', 10, '0-10', 'sixteen digits are an integer'],
  ['bytes=0-99999999999999999', 10, 'whole', 'seventeen are none'],
  ['bytes=10-', 10, 'unsatisfiable', 'the first byte after the last'],
  ['bytes=10-20', 10, 'unsatisfiable', 'beyond the size'],
  ['bytes=5-0', 10, 'unsatisfiable', 'reversed: the suite wants 416'],
  ['bytes=500-0', 10, 'unsatisfiable', 'reversed and beyond'],
  ['bytes=-0', 10, 'unsatisfiable', 'no bytes at all'],
  ['bytes=0-', 0, 'unsatisfiable', 'nothing has no first byte'],
  ['bytes=-1', 0, 'whole', 'a suffix of nothing is nothing, whole'],
  ['BYTES=0-4', 10, '0-5', 'units ignore case'],
  ['bytes= 0-4 ', 10, '0-5', 'blanks around'],
  ['bytes=,0-4,', 10, '0-5', 'empty elements of a list count for nothing'],
  ['bytes=0-1,3-4', 10, 'several', 'more than one'],
  ['bytes=0-1,x', 10, 'whole', 'one of them is no range'],
  ['items=0-4', 10, 'whole', 'another unit'],
  ['bytes 0-4', 10, 'whole', 'no equals sign'],
  ['bytes=', 10, 'whole', 'no range'],
  ['bytes=-', 10, 'whole', 'neither end'],
  ['bytes=a-b', 10, 'whole', 'no digits'],
  ['bytes=+1-2', 10, 'whole', 'a sign is no digit'],
  ['bytes=0x1-2', 10, 'whole', 'nor is a letter'],
  ['bytes=1-2-3', 10, 'whole', 'three ends'],
  ['', 10, 'whole', 'empty'],
] as const) {
  test(`of ${sizeBytes} bytes, "${header}" is ${want}: ${why}`, () => {
    const read = rangeOf(header, sizeBytes)

    expect(read.at === 'part' ? `${read.start}-${read.end}` : read.at).toBe(want)
  })
}

test('fault 26: any one range is the bytes that a naive walk over them selects', () => {
  const ends = fc.nat({ max: 40 })
  const spec = fc.oneof(
    fc.record({ first: ends, last: fc.option(ends, { nil: undefined }) }),
    fc.record({ suffix: ends }),
  )
  const blank = fc.constantFrom('', ' ', '  ', '\t')
  fc.assert(
    fc.property(spec, fc.nat({ max: 30 }), blank, blank, (asked, sizeBytes, before, after) => {
      const text = 'suffix' in asked ? `-${asked.suffix}` : `${asked.first}-${asked.last ?? ''}`
      const last = 'suffix' in asked ? sizeBytes : (asked.last ?? sizeBytes)
      const first = 'suffix' in asked ? sizeBytes - asked.suffix : asked.first
      const wanted = [...Array(sizeBytes).keys()].filter((at) => at >= first && at <= last)

      const read = rangeOf(`bytes=${before}${text}${after}`, sizeBytes)

      const isEmptyWhole = sizeBytes === 0 && 'suffix' in asked && asked.suffix > 0
      if (isEmptyWhole) expect(read).toEqual({ at: 'whole' })
      else if (wanted.length === 0) expect(read).toEqual({ at: 'unsatisfiable' })
      else expect(read).toEqual({ at: 'part', start: wanted[0], end: (wanted.at(-1) ?? 0) + 1 })
    }),
  )
})

test('fault 26: whatever the header, what comes out lies within the size', () => {
  const piece = fc.constantFrom('bytes', '=', '-', ',', ' ', '0', '7', '99999999999999999999', 'x', '\u{1F600}', '*')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), fc.nat({ max: 100 }), (pieces, sizeBytes) => {
      const read = rangeOf(pieces.join(''), sizeBytes)

      if (read.at !== 'part') return
      expect(read.start).toBeGreaterThanOrEqual(0)
      expect(read.start).toBeLessThan(read.end)
      expect(read.end).toBeLessThanOrEqual(sizeBytes)
    }),
  )
})

for (const [headers, want, why] of [
  [{ range: 'bytes=0-4', 'if-range': etag }, 'part', 'the entity tag is equal'],
  [{ range: 'bytes=0-4', 'if-range': `W/${etag}` }, 'whole', 'If-Range compares strongly'],
  [{ range: 'bytes=0-4', 'if-range': '"other"' }, 'whole', 'another entity tag'],
  [{ range: 'bytes=0-4', 'if-range': 'Wed, 21 Oct 2015 07:28:00 GMT' }, 'whole', 'a date is no entity tag of ours'],
  [{ 'if-none-match': etag }, 'unchanged', 'the client has it'],
  [{ 'if-none-match': `W/${etag}` }, 'unchanged', 'If-None-Match compares weakly'],
  [{ 'if-none-match': `"x", ${etag}` }, 'unchanged', 'one of several'],
  [{ 'if-none-match': '*' }, 'unchanged', 'any will do'],
  [{ 'if-none-match': '"x"' }, 'whole', 'the client has another'],
  [{ 'if-none-match': etag, range: 'bytes=99-' }, 'unchanged', 'If-None-Match comes before Range'],
] as const) {
  test(`${JSON.stringify(headers)} selects ${want}: ${why}`, () => {
    expect(selectionOf(headers, { digest, sizeBytes: 10 }, false).at).toBe(want)
  })
}

test('a HEAD ignores Range, but not If-None-Match', () => {
  expect(selectionOf({ range: 'bytes=99-' }, { digest, sizeBytes: 10 }, true)).toEqual({ at: 'whole' })
  expect(selectionOf({ 'if-none-match': etag }, { digest, sizeBytes: 10 }, true)).toEqual({ at: 'unchanged' })
})

test("HTTP's inclusive end is written here", () => {
  expect(contentRangeOf({ start: 0, end: 1 }, 10)).toBe('bytes 0-0/10')
  expect(unsatisfiedRangeOf(10)).toBe('bytes */10')
})
