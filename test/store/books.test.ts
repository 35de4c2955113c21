import { join } from 'node:path'
import { expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { Books } from '../../src/store/books.ts'
import { newFolder } from './support.ts'

const SUMS = Buffer.alloc(8)
const digestAt = (number: number) => digestOf(Buffer.from(`blob ${number}`))

async function booksOf(count: number): Promise<Books> {
  const books = Books.open(join(await newFolder(), 'disk.sqlite'))
  const blobs = Array.from({ length: count }, (_, number) => ({
    digest: digestAt(number),
    sizeBytes: 10,
    usedMs: number,
  }))
  books.enterFound(blobs, 'sure')
  return books
}

test('a walk is exact while memory knows of few uses that the books don’t', async () => {
  const books = await booksOf(1_000)
  for (let number = 0; number < 150; number += 1) books.touch(digestAt(number), 10_000 + number)

  const page = books.leastRecentlyUsed(100)

  expect(page.map(({ digest }) => digest)).toEqual(Array.from({ length: 100 }, (_, number) => digestAt(150 + number)))
  books.close()
})

test('a walk among blobs that were all just used gives the oldest use that it met first, and stops soon', async () => {
  const books = await booksOf(5_000)
  for (let number = 4_999; number >= 0; number -= 1) books.touch(digestAt(number), 10_000 + (5_000 - number))

  const page = books.leastRecentlyUsed(100)

  expect(page).toHaveLength(100)
  const places = page.map(({ digest }) => Array.from({ length: 300 }, (_, number) => digestAt(number)).indexOf(digest))
  expect(places).toEqual(places.toSorted((a, b) => b - a))
  books.close()
})

test('totals follow every change, and are believed after a close', async () => {
  const path = join(await newFolder(), 'disk.sqlite')
  const books = Books.open(path)
  books.enter(digestAt(1), 100, 1, SUMS)
  books.enter(digestAt(2), 200, 2, SUMS)
  books.enter(digestAt(1), 150, 3, SUMS)
  expect([books.blobs, books.bytes]).toEqual([2, 350])
  expect(books.drop(digestAt(2))).toMatchObject({ sizeBytes: 200 })
  expect(books.drop(digestAt(2))).toBeUndefined()
  books.close()

  const again = Books.open(path)

  expect([again.blobs, again.bytes]).toEqual([1, 150])
  expect([...again.digests()]).toEqual([digestAt(1)])
  again.close()
})

test('a use is written only where what is written is an hour older', async () => {
  const books = await booksOf(3)

  books.touch(digestAt(0), 3_600_000)
  expect(books.hasUntold).toBe(false)
  books.touch(digestAt(0), 3_600_001)
  expect(books.hasUntold).toBe(true)

  expect(books.writeTouches()).toBe(false)
  books.touch(digestAt(0), 3_700_000)
  expect(books.hasUntold).toBe(false)
  expect(books.touch(digestAt(9), 3_700_000)).toBe(false)
  books.close()
})
