import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { ROOT } from './source.ts'

const readJson = (path: string): unknown => JSON.parse(readFileSync(join(ROOT, path), 'utf8'))

const lock = z
  .object({ packages: z.record(z.string(), z.looseObject({ gypfile: z.boolean().optional() })) })
  .parse(readJson('package-lock.json'))
const paper = z
  .object({
    bin: z.record(z.string(), z.string()),
    scripts: z.record(z.string(), z.string()),
    dependencies: z.record(z.string(), z.string()),
    devDependencies: z.record(z.string(), z.string()),
    allowScripts: z.record(z.string(), z.boolean()),
  })
  .parse(readJson('package.json'))

test('an install compiles nothing: the lock says that better-sqlite3 needs no node-gyp', () => {
  const { gypfile } = lock.packages['node_modules/better-sqlite3'] ?? {}

  expect(gypfile, 'npm drops this line at each rewrite of the lock: npm run relock').toBe(false)
})

test('one script alone may run at an install: the one that brings Node', () => {
  const allowed = Object.entries(paper.allowScripts).filter(([, isAllowed]) => isAllowed)

  expect(allowed.map(([name]) => name)).toEqual(['node'])
})

test('every dependency has one exact version', () => {
  const versions = Object.entries({ ...paper.dependencies, ...paper.devDependencies })

  expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))).toEqual([])
})

test('the lock names no host: each machine asks its own registry', () => {
  const named = Object.values(lock.packages).filter(({ resolved }) => resolved !== undefined)

  expect(named).toEqual([])
})

test('the commands that the papers name are there', () => {
  expect(paper.bin).toEqual({ millpond: 'dist/main.js' })
  for (const script of ['start', 'test', 'check', 'build', 'format', 'relock']) {
    expect(paper.scripts, script).toHaveProperty(script)
  }
  expect(paper.scripts['start']).toContain('src/main.ts')
})
