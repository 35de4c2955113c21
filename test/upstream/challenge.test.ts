import fc from 'fast-check'
import { expect, test } from 'vitest'
import { challengesOf, chosenOf, scopesOf } from '../../src/upstream/challenge.ts'

const told = (...lines: string[]) =>
  challengesOf(lines).map(({ scheme, parameters, token68 }) => [scheme, Object.fromEntries(parameters), token68])

for (const [line, want, why] of [
  ['Bearer realm="https://a/t",service="s"', [['bearer', { realm: 'https://a/t', service: 's' }, undefined]], 'usual'],
  ['bEaReR ReAlM="x"', [['bearer', { realm: 'x' }, undefined]], 'schemes and names ignore case'],
  [
    'Bearer realm = "x" , service = y',
    [['bearer', { realm: 'x', service: 'y' }, undefined]],
    'bad white space is read',
  ],
  ['Bearer realm="a\\"b\\\\c,d=e"', [['bearer', { realm: 'a"b\\c,d=e' }, undefined]], 'quoted pairs, commas in quotes'],
  [
    'Bearer realm="https://a/v2/token",service="s",scope="*",Basic realm="https://a",charset="UTF-8"',
    [
      ['bearer', { realm: 'https://a/v2/token', service: 's', scope: '*' }, undefined],
      ['basic', { realm: 'https://a', charset: 'UTF-8' }, undefined],
    ],
    'two challenges in one line (Gitea)',
  ],
  [
    'Negotiate, Basic realm=x',
    [
      ['negotiate', {}, undefined],
      ['basic', { realm: 'x' }, undefined],
    ],
    'a bare scheme',
  ],
  [
    'Negotiate abc==, Basic realm=x',
    [
      ['negotiate', {}, 'abc=='],
      ['basic', { realm: 'x' }, undefined],
    ],
    'a token68',
  ],
  [',, Bearer ,realm="x",, ,', [['bearer', { realm: 'x' }, undefined]], 'empty list elements'],
  ['Bearer realm="x",realm="evil"', [['bearer', { realm: 'x' }, undefined]], 'the first of a name counts'],
  ['Bearer realm="x" service="s"', [['bearer', { realm: 'x', service: 's' }, undefined]], 'a comma forgotten'],
  ['Bearer realm="x', [], 'a quote without end'],
  ['realm="x"', [], 'no scheme'],
  ['Bearer __proto__="x"', [['bearer', {}, undefined]], 'a hostile name is a name'],
  ['', [], 'nothing'],
] as const) {
  test(`the challenge ${line} is read: ${why}`, () => {
    const read = told(line)

    expect(read).toEqual(
      line.includes('__proto__') ? [['bearer', Object.fromEntries([['__proto__', 'x']]), undefined]] : want,
    )
  })
}

test('challenges in several lines are all read, and Bearer with a realm is preferred', () => {
  const challenges = challengesOf([
    'Basic realm="b"',
    'Bearer error="x"',
    'Bearer realm="t",scope="a:b:pull  c:d:pull"',
  ])
  const chosen = chosenOf(challenges)

  expect(challenges).toHaveLength(3)
  expect(chosen?.parameters.get('realm')).toBe('t')
  expect(chosen && scopesOf(chosen)).toEqual(['a:b:pull', 'c:d:pull'])
  expect(chosenOf(challengesOf(['Digest realm="d"']))).toBeUndefined()
})

const name = fc.stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,12}$/)
const value = fc.string({ unit: fc.constantFrom(...' ",=\\abZ9/:*-'), maxLength: 20 })
const space = fc.constantFrom('', ' ', '\t', '  ')
const parameter = fc.record({ name, value, isQuoted: fc.boolean(), before: space, after: space, isUpper: fc.boolean() })
const challenge = fc.record({ scheme: name, parameters: fc.array(parameter, { maxLength: 4 }), token68: fc.boolean() })
type Model = typeof challenge extends fc.Arbitrary<infer T> ? T : never

/** The naive model: what was meant, printed in one of the many ways that the grammar allows. */
function printed({ scheme, parameters, token68 }: Model): string {
  if (token68) return `${scheme} YWJj/+==`
  const texts = parameters.map(({ name: key, value: text, isQuoted, before, after, isUpper }) => {
    const isToken = /^[abZ9*-]+$/.test(text)
    const shown = isToken && !isQuoted ? text : `"${text.replace(/["\\]/g, '\\$&')}"`
    return `${isUpper ? key.toUpperCase() : key}${before}=${after}${shown}`
  })
  return texts.length > 0 ? `${scheme} ${texts.join(', ')}` : scheme
}

function meant({ scheme, parameters, token68 }: Model) {
  const read = new Map<string, string>()
  if (!token68) for (const { name: key, value: text } of parameters) if (!read.has(key)) read.set(key, text)
  return [scheme, [...read], token68 ? 'YWJj/+==' : undefined]
}

test('whatever list of challenges is printed by the grammar is read as it was meant', () => {
  fc.assert(
    fc.property(fc.array(challenge, { maxLength: 4 }), fc.constantFrom(', ', ',', ' ,\t', ', ,'), (list, comma) => {
      const read = challengesOf([list.map(printed).join(comma)])

      expect(read.map((each) => [each.scheme, [...each.parameters], each.token68])).toEqual(list.map(meant))
    }),
    { numRuns: 500 },
  )
})

test('fault 14: a challenge of more than 4 KiB is none: what it names would be remembered for each repository', () => {
  const lineOf = (chars: number) =>
    `Bearer realm="https://a.test/${'x'.repeat(chars - 'Bearer realm="https://a.test/"'.length)}"`

  expect(challengesOf([lineOf(4_096)])).toHaveLength(1)
  expect(challengesOf([lineOf(4_097)])).toEqual([])
})

test('no line makes the reader throw or linger', () => {
  const hostile = [
    'a='.repeat(30_000),
    'a "'.repeat(20_000),
    `Bearer realm="${'\\'.repeat(60_000)}`,
    ', '.repeat(30_000),
  ]
  const startMs = performance.now()
  for (const line of hostile) challengesOf([line])

  expect(performance.now() - startMs).toBeLessThan(500)
  fc.assert(
    fc.property(
      fc.string({ unit: fc.nat(255).map((code) => String.fromCharCode(code)) }),
      (line) => challengesOf([line]).length >= 0,
    ),
  )
})
