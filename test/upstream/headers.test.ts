import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodingsOf, findContentRange, lengthOf } from '../../src/upstream/headers.ts'

test('a Content-Range is read as its numbers say, and only where they make a range', () => {
  const number = fc.oneof(fc.nat(20), fc.constantFrom(2 ** 53 - 1, 2 ** 53, 10 ** 17))
  fc.assert(
    fc.property(number, number, fc.option(number), (first, last, size) => {
      const read = findContentRange(`bytes ${first}-${last}/${size ?? '*'}`)

      const isRange = first <= last && last < (size ?? Number.POSITIVE_INFINITY)
      const isSafe = [first, last, size ?? 0].every((each) => Number.isSafeInteger(each))
      const want = { start: first, end: last + 1, sizeBytes: size ?? undefined }
      expect(read).toEqual(isRange && isSafe ? want : undefined)
    }),
  )
})

for (const text of [
  'bytes 1-2',
  'bytes=1-2/3',
  'items 0-1/2',
  'bytes -1-2/3',
  'bytes 1-2/3, bytes 1-2/3',
  'bytes */5',
  '',
]) {
  test(`the Content-Range "${text}" is none`, () => {
    expect(findContentRange(text)).toBeUndefined()
  })
}

test('a length is one where it is the length of what was asked for', () => {
  expect(lengthOf({ 'content-length': '5' })).toBe(5)
  expect(lengthOf({ 'content-length': '5', 'content-encoding': 'identity' })).toBe(5)
  expect(lengthOf({ 'content-length': '5', 'content-encoding': 'gzip' })).toBeUndefined()
  expect(lengthOf({ 'content-length': '+5' })).toBeUndefined()
  expect(lengthOf({ 'content-length': '9007199254740993' })).toBeUndefined()
  expect(encodingsOf({ 'content-encoding': ['identity, GZip', 'br'] })).toEqual(['gzip', 'br'])
})
