import { expect, test } from 'vitest'
import { KIB, MIB } from '../../src/base/units.ts'
import { Buffers } from '../../src/store/reader.ts'

test('fault 21: the buffers of 4,096 clients who stand still are 256 MiB together, at the most', () => {
  const buffers = new Buffers(256 * MIB)

  const lent = Array.from({ length: 2 * 4096 }, () => buffers.lend())

  expect(buffers.lentBytes).toBeLessThanOrEqual(256 * MIB)
  expect(lent.reduce((sum, each) => sum + each.length, 0)).toBe(buffers.lentBytes)
  expect(lent.at(0)).toHaveLength(64 * KIB)
  expect(lent.at(-1)).toHaveLength(4 * KIB)
})

test('a buffer grows while the budget has room, to its last byte, and no further', () => {
  const buffers = new Buffers(8 * MIB) // an eighth is kept for those who come when it is spent
  const grown = Array.from({ length: 14 }, () => buffers.grow(buffers.lend()))

  const beyond = buffers.grow(buffers.lend())

  expect(grown.map(({ length }) => length)).toEqual(grown.map(() => 512 * KIB))
  expect(buffers.lentBytes).toBe(7 * MIB + beyond.length)
  expect(beyond).toHaveLength(4 * KIB)
})

test('what is given back is lent again, by its size', () => {
  const buffers = new Buffers(8 * MIB)
  const small = buffers.lend()
  const large = buffers.grow(buffers.lend())

  buffers.giveBack(small)
  buffers.giveBack(large)

  expect(buffers.lentBytes).toBe(0)
  expect(buffers.lend()).toBe(small)
  expect(buffers.grow(buffers.lend())).toBe(large)
})
