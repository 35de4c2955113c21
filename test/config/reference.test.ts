import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { configKeys } from '../../src/base/config-keys.ts'
import { pathOf, REFERENCE, referenceText } from './reference.ts'

const page = readFileSync(REFERENCE, 'utf8')

test('docs/configuration.md is what the schema says: npm run docs:configuration writes it', () => {
  expect(page).toBe(referenceText())
})

for (const key of configKeys()) {
  test(`${key.path.join('.')} has its meaning, kind, default and ways in the page`, () => {
    const line = page.split('\n').find((each) => each.startsWith(`| \`${pathOf(key)}\` |`))

    expect(key.meaning).toMatch(/^[A-Z].*\.$/)
    expect(line).toContain(key.meaning)
    expect(line).toContain(key.kind.split('|')[0])
    for (const way of [key.default, key.environment, key.flag]) if (way) expect(line).toContain(`\`${way}\``)
  })
}
