import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OciError } from '../../src/base/errors.ts'
import { algorithmOf, digestOf, findDigest, hasherOf, hexOf, matches, parseDigest } from '../../src/oci/digest.ts'

const HEX_64 = 'a'.repeat(64)

for (const [text, isDigest, why] of [
  [`sha256:${HEX_64}`, true, 'the usual one'],
  [`sha512:${'0'.repeat(128)}`, true, 'the other registered one'],
  [`sha256:${HEX_64.slice(1)}`, false, 'short'],
  [`sha256:${HEX_64}a`, false, 'long'],
  [`sha256:${HEX_64.toUpperCase()}`, false, 'upper case'],
  [`SHA256:${HEX_64}`, false, 'the algorithm in upper case'],
  [`sha384:${'a'.repeat(96)}`, false, 'an algorithm that is not served'],
  [`md5:${'a'.repeat(32)}`, false, 'an algorithm that proves nothing'],
  [`sha512:${HEX_64}`, false, "the other algorithm's length"],
  [`sha256:${'g'.repeat(64)}`, false, 'no hex'],
  [`sha256:${HEX_64}\n`, false, 'a line break at its end'],
  [` sha256:${HEX_64}`, false, 'a space before it'],
  [`sha256-${HEX_64}`, false, 'no colon'],
  [HEX_64, false, 'no algorithm'],
  [`constructor:${HEX_64}`, false, 'a name that every object has'],
  [`sha256:sha256:${HEX_64}`, false, 'two algorithms'],
  ['sha256:', false, 'no hex at all'],
  [':', false, 'a colon alone'],
  ['', false, 'nothing'],
] as const) {
  test(`fault 58: ${JSON.stringify(text.slice(0, 30))} is ${isDigest ? 'a' : 'no'} digest: ${why}`, () => {
    expect(findDigest(text)).toBe(isDigest ? text : undefined)
    if (!isDigest) expect(() => parseDigest(text)).toThrow(expect.objectContaining({ reason: 'digestInvalid' }))
  })
}

test('what is refused is refused with 400 DIGEST_INVALID', () => {
  expect(() => parseDigest('sha256:x')).toThrow(OciError)
  expect(new OciError('digestInvalid', '').answer).toEqual([400, 'DIGEST_INVALID'])
})

test('whatever bytes there are, their digest is what openssl says, parses, and matches what was hashed in pieces', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 4096 }),
      fc.nat(),
      fc.constantFrom('sha256', 'sha512'),
      (bytes, cut, algorithm) => {
        const digest = digestOf(bytes, algorithm)
        const at = bytes.length === 0 ? 0 : cut % bytes.length
        const hasher = hasherOf(digest).update(bytes.subarray(0, at)).update(bytes.subarray(at))

        expect(digest).toBe(`${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`)
        expect(findDigest(digest)).toBe(digest)
        expect([algorithmOf(digest), hexOf(digest)]).toEqual(digest.split(':'))
        expect(matches(digest, hasher)).toBe(true)
      },
    ),
  )
})

test('one bit that differs is another digest', () => {
  const bytes = randomBytes(1000)
  const digest = digestOf(bytes)
  bytes[500] = (bytes[500] ?? 0) ^ 1

  expect(matches(digest, hasherOf(digest).update(bytes))).toBe(false)
})

test('only what the naive reading takes is a digest', () => {
  const near = fc
    .tuple(
      fc.constantFrom('sha256', 'sha512', 'sha1', ''),
      fc.constantFrom(':', '', '-'),
      fc.stringMatching(/^[0-9a-fA-Fx]*$/),
    )
    .map((parts) => parts.join(''))
  const padded = fc
    .tuple(
      fc.constantFrom('sha256', 'sha512'),
      fc.string({ unit: fc.constantFrom(...'0123456789abcdefA'), minLength: 63, maxLength: 129 }),
    )
    .map(([algorithm, hex]) => `${algorithm}:${hex}`)

  fc.assert(
    fc.property(fc.oneof(near, padded, fc.string()), (text) => {
      expect(findDigest(text) !== undefined).toBe(isDigestNaively(text))
    }),
  )
})

function isDigestNaively(text: string): boolean {
  const [algorithm, hex, ...more] = text.split(':')
  const length = algorithm === 'sha256' ? 64 : algorithm === 'sha512' ? 128 : -1
  return more.length === 0 && hex?.length === length && [...hex].every((letter) => '0123456789abcdef'.includes(letter))
}
