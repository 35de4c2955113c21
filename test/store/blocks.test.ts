import { expect, test } from 'vitest'
import { Blocks } from '../../src/store/blocks.ts'

/** Blocks that are borrowed for as long as a test wants. */
function given() {
  const blocks = new Blocks()
  const begun: number[] = []
  const borrowed = Array.from({ length: 7 }, (_, at) => {
    const until = Promise.withResolvers<void>()
    const done = blocks.borrow(async () => {
      begun.push(at)
      await until.promise
    })
    done.catch(() => undefined) // a test looks at the one that fails
    return { done, until }
  })
  return { begun, borrowed }
}

test('four blocks are borrowed at a time; who waits for one gets it in the order of who asked', async () => {
  const { begun, borrowed } = given()
  expect(begun).toEqual([0, 1, 2, 3])

  for (const { done, until } of borrowed) {
    until.resolve()
    await done
  }

  expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6])
})

test('a block whose borrower fails is the next one’s', async () => {
  const { begun, borrowed } = given()
  const [first] = borrowed

  first?.until.reject(new Error('the disk failed'))

  await expect(first?.done).rejects.toThrow('the disk failed')
  await expect.poll(() => begun).toEqual([0, 1, 2, 3, 4])
  for (const { done, until } of borrowed.slice(1)) {
    until.resolve()
    await done
  }
  expect(begun).toHaveLength(7)
})

test('32 blocks are held at the most; one that was given back is had again', () => {
  const blocks = new Blocks()
  const held = Array.from({ length: 33 }, () => blocks.hold())
  expect(held.map((block) => block !== undefined)).toEqual([...Array.from({ length: 32 }, () => true), false])

  if (held[0]) blocks.giveBack(held[0])

  expect(blocks.held).toBe(31)
  expect(blocks.hold()).toBeDefined()
})
