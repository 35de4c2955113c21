import SqliteDatabase from 'better-sqlite3'
import { expect, test } from 'vitest'
import { assertRecent } from '../../src/store/sqlite-file.ts'

for (const version of ['3.51.2', '3.50.9', '3.7.17', '2.8.17', '']) {
  test(`fault 42: SQLite ${version || 'of no version'} is refused in a sentence`, () => {
    expect(() => assertRecent(version)).toThrow(`SQLite ${version} is too old: 3.51.3 is needed`)
  })
}

for (const version of ['3.51.3', '3.51.10', '3.52.0', '4.0.0']) {
  test(`fault 42: SQLite ${version} is taken`, () => {
    expect(() => assertRecent(version)).not.toThrow()
  })
}

test('fault 42: the one that comes with us is recent enough', () => {
  const db = new SqliteDatabase(':memory:')
  const version = String(db.prepare('SELECT sqlite_version()').pluck().get())
  db.close()

  expect(() => assertRecent(version)).not.toThrow()
})
