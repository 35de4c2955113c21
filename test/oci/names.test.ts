import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OciError } from '../../src/base/errors.ts'
import { findRegistryHost, parseReference, parseRepositoryPath, parseTag } from '../../src/oci/names.ts'

const accepts = (parse: (text: string) => unknown, text: string): boolean => {
  try {
    parse(text)
    return true
  } catch (error) {
    if (error instanceof OciError) return false
    throw error
  }
}

describe('a repository name', () => {
  for (const [text, isName, why] of [
    ['alpine', true, 'one part'],
    ['library/alpine', true, 'two parts'],
    ['a/b/c/d/e', true, 'many parts'],
    ['a.b/c_d/e__f/g-h/i---j', true, 'every separator'],
    ['1/2', true, 'digits'],
    ['manifests/blobs/tags', true, 'parts that are called like routes'],
    ['', false, 'empty'],
    ['/a', false, 'an empty part in front'],
    ['a/', false, 'an empty part at the end'],
    ['a//b', false, 'an empty part between'],
    ['a/../b', false, 'a part that climbs'],
    ['..', false, 'nothing but dots'],
    ['.a', false, 'a separator in front'],
    ['a.', false, 'a separator at the end'],
    ['a..b', false, 'two dots'],
    ['a___b', false, 'three underscores'],
    ['a._b', false, 'two kinds of separator together'],
    ['A/b', false, 'upper case'],
    ['a b', false, 'a space'],
    ['a\n', false, 'a line break at the end'],
    ['a\0', false, 'a NUL'],
    ['a\\b', false, 'a backslash'],
    ['a:b', false, 'a colon'],
    ['a%2fb', false, 'what was not decoded'],
    ['ä', false, 'no ASCII'],
    ['a'.repeat(255), true, 'the longest'],
    ['a'.repeat(256), false, 'one longer'],
  ] as const) {
    test(`fault 57: ${JSON.stringify(text.slice(0, 30))} is ${isName ? 'accepted' : 'refused'}: ${why}`, () => {
      expect(accepts(parseRepositoryPath, text)).toBe(isName)
    })
  }

  test('is what a reader of the specification, letter by letter, takes for one', () => {
    const letters = fc.string({ unit: fc.constantFrom(...'ab0._-/A'), maxLength: 12 })

    fc.assert(
      fc.property(letters, (text) => {
        expect(accepts(parseRepositoryPath, text)).toBe(text.split('/').every(isComponentNaively))
      }),
      { numRuns: 2000 },
    )
  })
})

/** Words of letters and digits, each two joined by `.`, `_`, `__` or any number of dashes. */
function isComponentNaively(part: string): boolean {
  const words = part.split(/[^a-z0-9]+/)
  const joints = part.split(/[a-z0-9]+/).slice(1, -1)
  const isJoint = (joint: string) =>
    ['.', '_', '__'].includes(joint) || (joint !== '' && joint.replaceAll('-', '') === '')
  return words.every((word) => word !== '') && joints.every(isJoint)
}

describe('a tag', () => {
  for (const [text, isTag, why] of [
    ['latest', true, 'the usual one'],
    ['_', true, 'one sign'],
    ['3.20', true, 'a version'],
    ['sha256-abc.sig', true, "a signature's"],
    ['UPPER_case-1.2', true, 'any case'],
    ['a'.repeat(128), true, 'the longest'],
    ['a'.repeat(129), false, 'one longer'],
    ['.INVALID_MANIFEST_NAME', false, "the conformance suite's"],
    ['-a', false, 'a dash in front'],
    ['', false, 'empty'],
    ['a/b', false, 'a slash'],
    ['a+b', false, 'a plus'],
    ['a\n', false, 'a line break at the end'],
    ['ä', false, 'no ASCII'],
  ] as const) {
    test(`${JSON.stringify(text.slice(0, 30))} is ${isTag ? 'accepted' : 'refused'}: ${why}`, () => {
      expect(accepts(parseTag, text)).toBe(isTag)
    })
  }

  test('that none can be is an unknown manifest: the conformance suite wants 404', () => {
    expect(() => parseTag('.x')).toThrow(expect.objectContaining({ reason: 'manifestUnknown' }))
  })
})

test('a reference with a colon is a digest or refused as one; else it is a tag', () => {
  const digest = `sha256:${'a'.repeat(64)}`

  expect(parseReference(digest)).toEqual({ digest })
  expect(parseReference('v1')).toEqual({ tag: 'v1' })
  expect(() => parseReference('sha256:totallywrong')).toThrow(expect.objectContaining({ reason: 'digestInvalid' }))
})

for (const [text, host, why] of [
  ['docker.io', 'docker.io', 'a name'],
  ['GHCR.io', 'ghcr.io', 'any case'],
  ['localhost', 'localhost', 'one label'],
  ['[a]', undefined, 'brackets around no address'],
  ['1.2.3.999', undefined, 'an address that is none'],
  ['a.io:65536', undefined, 'a port beyond all'],
  ['registry.local:5000', 'registry.local:5000', 'a port'],
  ['127.0.0.1:80', '127.0.0.1:80', 'an address'],
  ['[::1]:80', '[::1]:80', 'an IPv6 address'],
  ['docker.io/library', undefined, 'a path'],
  ['https://docker.io', undefined, 'a URL'],
  ['user@docker.io', undefined, 'a user'],
  ['docker.io:', undefined, 'a colon without a port'],
  ['docker.io:123456', undefined, 'too many digits'],
  ['.docker.io', undefined, 'a dot in front'],
  ['docker.io\r\nx: y', undefined, 'a header of its own'],
  ['', undefined, 'empty'],
  ['a'.repeat(300), undefined, 'too long'],
] as const) {
  test(`fault 83: the host in ${JSON.stringify(text.slice(0, 30))} is ${host ?? 'none'}: ${why}`, () => {
    expect(findRegistryHost(text)).toBe(host)
  })
}

/**
 * The steps of a backtracking match grow with the square of the input, or worse; those of ours with the input. Times
 * are compared to one another, the best of several each, and generously: a quadratic one would be 64 times slower.
 */
describe('fault 59: 16 KiB of what a careless expression chokes on', () => {
  const GROWTH = 8
  const hostile: readonly (readonly [what: string, of: (length: number) => string])[] = [
    ['letters and a bad end', (length) => `${'a'.repeat(length)}!`],
    ['dashes', (length) => `a${'-'.repeat(length)}!`],
    ['separators by turns', (length) => `${'a_'.repeat(length / 2)}!`],
    ['dots by turns', (length) => `${'a.'.repeat(length / 2)}!`],
    ['slashes', (length) => '/'.repeat(length)],
    ['parts', (length) => `${'a/'.repeat(length / 2)}!`],
  ]
  const parsers = { parseRepositoryPath, parseTag, parseReference, findRegistryHost }

  for (const [name, parse] of Object.entries(parsers)) {
    for (const [what, of] of hostile) {
      test(`${name} of ${what} takes time in proportion`, () => {
        const [small, large] = [of(2048), of(2048 * GROWTH)]
        accepts(parse, large)

        const smallMs = bestMs(() => accepts(parse, small))
        const largeMs = bestMs(() => accepts(parse, large))
        expect(largeMs).toBeLessThan(Math.max(smallMs, 0.02) * GROWTH * 4)
      })
    }
  }

  const bestMs = (act: () => void): number => {
    const times = Array.from({ length: 20 }, () => {
      const beganMs = performance.now()
      act()
      return performance.now() - beganMs
    })
    return Math.min(...times)
  }
})
