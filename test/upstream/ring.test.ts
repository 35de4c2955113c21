import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Ring } from '../../src/upstream/ring.ts'

test('whatever is read and taken in turn, the reader gets each byte once and in order, and no piece changes while it is held', () => {
  const turns = fc.array(fc.record({ fill: fc.double({ min: 0, max: 1, noNaN: true }), take: fc.boolean() }))
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 400 }), turns, (size, total, steps) => {
      const ring = new Ring(Math.min(size, total))
      const given: number[] = []
      let written = 0
      let held: { readonly piece: Buffer; readonly copy: Buffer } = { piece: Buffer.alloc(0), copy: Buffer.alloc(0) }
      const take = () => {
        const piece = ring.take(7)
        given.push(...piece)
        held = { piece, copy: Buffer.from(piece) }
      }
      for (const { fill, take: takes } of steps) {
        const region = ring.region(total - written)
        if (written < total && ring.isFree(total - written)) {
          const bytes = Math.max(1, Math.round(region.length * fill))
          for (let at = 0; at < bytes; at++) region[at] = (written + at) % 251
          ring.wrote(bytes)
          written += bytes
        }
        expect(held.piece.equals(held.copy)).toBe(true)
        if (takes) take()
      }
      while (ring.arrivedBytes > 0) take()

      expect(given).toEqual(Array.from({ length: written }, (_, at) => at % 251))
    }),
  )
})

test('a ring that is full is free again once what was given is given up', () => {
  const ring = new Ring(8)
  ring.put(Buffer.from('12345678'))

  expect(ring.isFree(8)).toBe(false)
  expect(ring.take(5).toString()).toBe('12345')
  expect(ring.isFree(8)).toBe(false)
  expect(ring.take(5).toString()).toBe('678')
  expect(ring.isFree(5)).toBe(true)
})
