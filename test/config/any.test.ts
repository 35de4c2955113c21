import fc from 'fast-check'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { configKeys } from '../../src/base/config-keys.ts'
import { parseConfig } from '../../src/base/config-load.ts'
import { ConfigError } from '../../src/base/config-trouble.ts'

const NAMES = [...new Set(configKeys().map(({ path }) => path.at(-1) ?? ''))]

/** Reads it; what is refused is refused as an operator's mistake, each problem in one line. */
function settle(text: string, environment: Record<string, string> = {}): void {
  try {
    parseConfig({ file: { name: 'f.yaml', text }, environment, flags: new Map() })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    expect(error.problems.length).toBeGreaterThan(0)
    for (const problem of error.problems) expect(problem).not.toContain('\n')
  }
}

test('whatever the file holds, it is read or refused with its problems', () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => settle(text)))
})

test('whatever stands at keys that are known, it is read or refused with its problems', () => {
  const name = fc.constantFrom(...NAMES, 'docker.io', 'a.io', '__proto__', 'constructor', '1')
  const leaf = fc.oneof(
    fc.constantFrom(
      '5m',
      '0s',
      '80%',
      'off',
      '**',
      ':5000',
      'a:b',
      'http://a',
      true,
      false,
      null,
      0,
      Number.POSITIVE_INFINITY,
      -1,
    ),
    fc.string(),
  )
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(name, tie('tree'), { maxKeys: 4 }),
    ),
  }))

  fc.assert(
    fc.property(fc.dictionary(name, tree, { maxKeys: 6 }), (value) => settle(stringify(value))),
    { numRuns: 500 },
  )
})

test('whatever a variable holds, it is read or refused with its problems', () => {
  const variables = configKeys().flatMap(({ environment }) => environment ?? [])

  fc.assert(
    fc.property(fc.constantFrom(...variables), fc.string(), (variable, text) => settle('', { [variable]: text })),
    { numRuns: 500 },
  )
})
