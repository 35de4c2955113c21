import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { describe, expect, test } from 'vitest'
import { hexOf } from '../../src/oci/digest.ts'
import { Books } from '../../src/store/books.ts'
import { checksumsOf } from '../../src/store/checksums.ts'
import { contentOf } from './content.ts'
import { fill, newFolder, openDisk, readAll } from './support.ts'

const one = contentOf(1, 100_000)
const two = contentOf(2, 50_000)

async function folderWithBlobs(): Promise<string> {
  const folder = await newFolder()
  await using disk = await openDisk(folder)
  for (const each of [one, two]) await fill(disk, each)
  return folder
}

describe('fault 86: books of other versions', () => {
  test('the first ones are brought to this version, and what they tell of is hashed before it is served', async () => {
    const folder = await folderWithBlobs()
    const path = join(folder, 'disk.sqlite')
    const db = new SqliteDatabase(path)
    db.exec('DROP TRIGGER blobs_gone; DROP TABLE checksums; PRAGMA user_version = 1')
    db.close()
    const spoilt = Buffer.from(one.bytes)
    spoilt[3] = (spoilt[3] ?? 0) ^ 1
    await writeFile(join(folder, 'blobs', 'sha256', hexOf(one.digest)), spoilt)

    {
      await using disk = await openDisk(folder)
      expect(disk.counts()).toMatchObject({ blobs: 2, bytes: 150_000 })
      expect(await readAll(disk, one.digest)).toBeUndefined()
      expect((await readAll(disk, two.digest))?.equals(two.bytes)).toBe(true)
      expect(disk.counts().quarantined).toBe(1)
    }

    const books = Books.open(path)
    expect(books.findSums(two.digest)).toEqual(checksumsOf(two.bytes))
    expect(books.findSums(one.digest)).toBeUndefined()
    books.close()
  })

  test('later ones are refused in a sentence, and nothing is touched', async () => {
    const folder = await folderWithBlobs()
    const path = join(folder, 'disk.sqlite')
    new SqliteDatabase(path).exec('PRAGMA user_version = 99').close()

    await expect(openDisk(folder)).rejects.toThrow(
      `the books ${path} are of a later version of Millpond (theirs is 99, ours 2): ` +
        'run that one, or move the file away; blobs stay',
    )

    expect(await readdir(join(folder, 'blobs', 'sha256'))).toHaveLength(2)
    expect(await readdir(folder)).not.toContain('disk.sqlite.torn')
  })
})
