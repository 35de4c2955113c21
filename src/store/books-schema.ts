import type { Database } from 'better-sqlite3'
import { DiskError } from './disk-error.ts'

/** What brings the books from each version to the next; the first makes them. Never changed, only added to. */
const STEPS: readonly string[] = [
  `CREATE TABLE blobs (
     digest TEXT PRIMARY KEY, size INTEGER NOT NULL, used INTEGER NOT NULL, trust INTEGER NOT NULL
   ) WITHOUT ROWID;
   CREATE INDEX blobs_by_use ON blobs (used, digest);
   CREATE INDEX blobs_unsure ON blobs (trust) WHERE trust < 2;
   CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;`,
  // Apart from the blobs, whose rows are walked: eight bytes for each MiB of them.
  `CREATE TABLE checksums (digest TEXT PRIMARY KEY, sums BLOB NOT NULL) WITHOUT ROWID;
   CREATE TRIGGER blobs_gone AFTER DELETE ON blobs BEGIN DELETE FROM checksums WHERE digest = OLD.digest; END;`,
]

/**
 * Brings the books to this version, in one transaction, whatever their version was.
 * @throws {DiskError} a sentence, where they are of a later one @throws the library's error where they are torn
 */
export function migrateBooks(db: Database, path: string): void {
  const migrate = db.transaction(() => {
    const version = Number(db.pragma('user_version', { simple: true }))
    if (version > STEPS.length) {
      throw new DiskError(
        'failed',
        `the books ${path} are of a later version of Millpond (theirs is ${version}, ours ${STEPS.length}): ` +
          'run that one, or move the file away; blobs stay',
      )
    }
    if (version < 0) throw new Error(`${path} is torn: its version is ${version}`)
    for (const step of STEPS.slice(version)) db.exec(step)
    db.pragma(`user_version = ${STEPS.length}`)
  })
  migrate.immediate()
}
