import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, sourcesUnder } from './source.ts'
import { UNTESTED_FAULTS } from './untested-faults.ts'

const text = readFileSync(join(ROOT, 'SECURITY.md'), 'utf8')
/** `- \`test/…\`: its title`, below the promise that it proves. */
const PROOF = /^ +- `(test\/[^`]+\.test\.ts)`: (.+)$/
const PROMISE = /^([0-9]+)\. \*\*/

const named = text.split('\n').flatMap((line) => {
  const [, path = '', title = ''] = PROOF.exec(line) ?? []
  return path === '' ? [] : [{ path, title }]
})

/** A title as it stands in a file: between quotes of any kind, with what these want escaped. */
const isIn = (path: string, title: string): boolean => {
  if (!existsSync(join(ROOT, path))) return false
  const source = readFileSync(join(ROOT, path), 'utf8').replaceAll("\\'", "'")
  return [`test('${title}'`, `test("${title}"`, `test(\`${title}\``].some((opening) => source.includes(opening))
}

test('each test that SECURITY.md names for a promise exists, by this title', () => {
  expect(named.filter(({ path, title }) => !isIn(path, title))).toEqual([])
})

test('each of the twelve promises names tests that prove it', () => {
  const counts = new Map<string, number>()
  let promise = ''
  for (const line of text.split('\n')) {
    promise = PROMISE.exec(line)?.[1] ?? promise
    if (PROOF.test(line)) counts.set(promise, (counts.get(promise) ?? 0) + 1)
  }

  expect([...counts.keys()]).toEqual(Array.from({ length: 12 }, (_, at) => String(at + 1)))
  expect(Math.min(...counts.values())).toBeGreaterThanOrEqual(3)
})

const FAULTS = 90
/** A test's title, or one of a table's, begins with the fault or the faults that it covers. */
const TITLE = /['"`]faults? ([0-9]{1,2}(?:, [0-9]{1,2})*)\b/g

test('each fault by its number has a test that is named after it, or a reason why there is none', () => {
  const tests = sourcesUnder('test').filter(({ path }) => !path.startsWith('test/tidy/'))
  const titles = tests.flatMap(({ text }) => [...text.matchAll(TITLE)])
  const tested = new Set(titles.flatMap(([, numbers = '']) => numbers.split(', ').map(Number)))
  const numbers = Array.from({ length: FAULTS }, (_, at) => at + 1)

  expect(numbers.filter((number) => !tested.has(number) && !UNTESTED_FAULTS.has(number))).toEqual([])
  expect([...UNTESTED_FAULTS.keys()].filter((number) => tested.has(number))).toEqual([])
})
