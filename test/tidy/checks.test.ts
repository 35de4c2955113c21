import { expect, test } from 'vitest'
import * as checks from './checks.ts'
import { beyondExceptions } from './exceptions.ts'
import { readSource } from './source.ts'

const inFile = (path: string, ...lines: string[]) => readSource(path, `${lines.join('\n')}\n`)

for (const [path, line, isWrong, why] of [
  ['src/cache/a.ts', "import { b } from '../store/b.ts'", false, 'store is below cache'],
  ['src/cache/a.ts', "import { b } from './b.ts'", false, 'a room may import itself'],
  ['src/store/a.ts', "import { b } from '../cache/b.ts'", true, 'cache is above store'],
  ['src/store/a.ts', "import type { B } from '../cache/b.ts'", true, 'types point too'],
  ['src/store/a.ts', "export { b } from '../cache/b.ts'", true, 'so does what is exported on'],
  ['src/store/a.ts', "const b = await import('../cache/b.ts')", true, 'and what is imported late'],
  ['src/store/a.ts', "import { b } from '../upstream/b.ts'", true, 'rooms of one floor are strangers'],
  ['src/oci/a.ts', "import { serve } from '../main.ts'", true, 'main is at the top'],
  ['src/attic/a.ts', "import { b } from '../base/b.ts'", true, 'no such room'],
] as const) {
  test(`the arrow of ${line} in ${path} is ${isWrong ? 'wrong' : 'right'}: ${why}`, () => {
    expect(checks.wrongArrows([inFile(path, line)])).toHaveLength(isWrong ? 1 : 0)
  })
}

test('a ring of three files is found once', () => {
  const ring = ['b', 'c', 'a'].map((next, at) => inFile(`src/oci/${'abc'[at]}.ts`, `import { x } from './${next}.ts'`))

  expect(checks.importRings(ring)).toEqual(['src/oci/a.ts > src/oci/b.ts > src/oci/c.ts: a ring of imports'])
})

for (const [line, isTouching] of [
  ['const now = Date.now()', true],
  ['const now = new Date()', true],
  ['const then = new Date(5)', false],
  ['setTimeout(() => 1, 5)', true],
  ["import { setTimeout as wait } from 'node:timers/promises'", true],
  ["import timers from 'node:timers'", true],
  ["import { setImmediate } from 'node:timers/promises'", false],
  ['const { HOME } = process.env', true],
  ['const part = Math.random()', true],
  ['socket.setTimeout(5)', false],
  ['const options = { setTimeout: 5 }', false],
] as const) {
  test(`${line} ${isTouching ? 'touches' : 'does not touch'} the outside`, () => {
    expect(checks.outsideTouched(inFile('src/cache/a.ts', line)).length > 0).toBe(isTouching)
  })
}

for (const [line, wrong] of [
  ['export const f = (x: any) => x', 1],
  ['export const f = (x: { y?: number }) => x.y!', 1],
  ['try { f() } catch {}', 1],
  ['try { f() } catch { /* gone already */ }', 0],
] as const) {
  test(`${line} is ${wrong ? 'refused' : 'accepted'}`, () => {
    expect(checks.looseTypes(inFile('src/cache/a.ts', line))).toHaveLength(wrong)
  })
}

for (const [line, wrong] of [
  ['let count = 0', 1],
  ['export let count = 0', 1],
  ['export const names = new Map()', 0],
  ['class A extends B {}', 1],
  ['class A extends Error {}', 0],
  ['class A { private x = 1 }', 1],
  ['class A { private constructor() {} }', 0],
] as const) {
  test(`${line} is ${wrong ? 'refused' : 'accepted'} as state`, () => {
    expect(checks.looseState(inFile('src/cache/a.ts', line))).toHaveLength(wrong)
  })
}

test('a function has the lines from its head to its end', () => {
  const source = inFile('src/oci/a.ts', 'export function f() {', '  return [1].map((x) => x)', '}')

  expect(checks.functionLengths(source).map(({ lines }) => lines)).toEqual([3, 1])
})

test('a line with code and comment counts as both', () => {
  const source = inFile('src/oci/a.ts', '/**', ' * Two.', ' */', '', 'const a = 1 // one', "const b = '// none'")

  expect(checks.commentLines(source)).toEqual({ comments: 4, code: 2 })
})

test('a test that is left out is found', () => {
  expect(checks.unfinished(inFile('test/a.test.ts', "test.skip('x', () => undefined)"))).toHaveLength(1)
})

test('an exception takes out what it names, and is refused when it is needed no more', () => {
  const exceptions = [{ rule: 'state', path: 'src/oci/a.ts', why: 'x' }]

  expect(beyondExceptions('state', ['src/oci/a.ts:1 inherits', 'src/oci/b.ts:1 inherits'], exceptions)).toEqual([
    'src/oci/b.ts:1 inherits',
  ])
  expect(beyondExceptions('state', [], exceptions)).toHaveLength(1)
})
