import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import * as checks from './checks.ts'
import { beyondExceptions } from './exceptions.ts'
import { ROOT, type Source, sourcesUnder } from './source.ts'

const ours = sourcesUnder('src')
const tests = sourcesUnder('test')
const all = [...ours, ...tests]

const over = (sources: readonly Source[], check: (source: Source) => string[]) => sources.flatMap(check)

test('imports go downwards only, never up, never sideways between rooms of one floor', () => {
  expect(beyondExceptions('arrows', checks.wrongArrows(ours))).toEqual([])
})

test('no imports form a ring', () => {
  expect(beyondExceptions('rings', checks.importRings(ours))).toEqual([])
})

test('nothing is exported on from elsewhere, and nothing by default', () => {
  const barrels = all.flatMap(({ path, reexports }) => reexports.map((line) => `${path}:${line} is a barrel`))
  const defaults = all.flatMap(({ path, defaultExports }) => defaultExports.map((line) => `${path}:${line} by default`))

  expect(beyondExceptions('exports', [...barrels, ...defaults])).toEqual([])
})

test('time, randomness and the environment come from base alone', () => {
  const elsewhere = ours.filter(({ path }) => !path.startsWith('src/base/'))

  expect(beyondExceptions('outside', over(elsewhere, checks.outsideTouched))).toEqual([])
})

test('no any, no !, no error swallowed without a word', () => {
  expect(beyondExceptions('types', over(all, checks.looseTypes))).toEqual([])
})

test('no inheritance but Error, no state in modules, no private but #', () => {
  expect(beyondExceptions('state', over(ours, checks.looseState))).toEqual([])
})

test('no test is left out and nothing is left to do', () => {
  expect(beyondExceptions('unfinished', over(all, checks.unfinished))).toEqual([])
})

test('files are short: the median 120 lines at most, none over 400', () => {
  const tooLong = all.filter(({ lines }) => lines.length > 400).map(({ path, lines }) => `${path}: ${lines.length}`)

  expect(beyondExceptions('file length', tooLong)).toEqual([])
  expect(medianOf(ours.map(({ lines }) => lines.length))).toBeLessThanOrEqual(120)
})

test('functions are short: nine in ten have 30 lines at most, none over 70', () => {
  const lengths = ours.flatMap(checks.functionLengths)
  const tooLong = lengths.filter(({ lines }) => lines > 70).map(({ at, lines }) => `${at}: ${lines} lines`)

  expect(beyondExceptions('function length', tooLong)).toEqual([])
  expect(lengths.filter(({ lines }) => lines <= 30).length / lengths.length).toBeGreaterThanOrEqual(0.9)
})

test('no line is longer than 120 columns', () => {
  expect(beyondExceptions('columns', over(all, checks.longLines))).toEqual([])
})

test('there are 10 to 25 lines of comment to 100 of code', () => {
  const counts = ours.map(checks.commentLines)
  const comments = sum(counts.map((count) => count.comments))
  const code = sum(counts.map((count) => count.code))

  expect((100 * comments) / code).toBeGreaterThanOrEqual(10)
  expect((100 * comments) / code).toBeLessThanOrEqual(25)
})

const FIRST_FILES = [
  'src/base/errors.ts',
  'src/oci/digest.ts',
  'src/upstream/upstream.ts',
  'src/store/disk.ts',
  'src/cache/fills.ts',
  'src/registry/routes.ts',
  'src/admin/admin.ts',
  'src/cli/commands.ts',
]

for (const path of FIRST_FILES) {
  test(`${path} opens with what its room promises, doesn't know, and what to read next`, () => {
    expect(existsSync(join(ROOT, path))).toBe(true)
    const opening = ours.find((source) => source.path === path)?.comments[0]

    expect(opening?.start).toBe(0)
    for (const part of [/Promises:/, /Knows|Pure:|Doesn't know/, /Read next:/]) expect(opening?.value).toMatch(part)
  })
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0)
const medianOf = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor((numbers.length - 1) / 2)] ?? 0
