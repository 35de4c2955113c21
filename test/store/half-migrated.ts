/* For a process that is killed in the midst of a migration: goes so far, says so, and waits. */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { silentLog } from '../../src/base/log.ts'
import { migrateBooks } from '../../src/store/books-schema.ts'
import { MIGRATIONS } from '../../src/store/schema.ts'
import { openSqliteIndex } from '../../src/store/sqlite.ts'

const [what = '', folder = ''] = process.argv.slice(2)

function waitForTheKill(): never {
  writeSync(1, 'midway\n')
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

if (what === 'books') {
  const path = join(folder, 'disk.sqlite')
  const db = new SqliteDatabase(path)
  const pragma = db.pragma.bind(db)
  db.pragma = (text, options) => (text.includes('=') ? waitForTheKill() : pragma(text, options)) // all steps are done
  migrateBooks(db, path)
} else {
  const next = {
    async up(db: {
      schema: { createTable(name: string): { addColumn(name: string, type: 'text'): { execute(): Promise<void> } } }
    }) {
      await db.schema.createTable('added').addColumn('name', 'text').execute()
      waitForTheKill()
    },
  }
  await openSqliteIndex(folder, silentLog, { ...MIGRATIONS, '002-next': next })
}
