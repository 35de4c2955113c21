import { expect, test } from 'vitest'
import { connectionsWithin, descriptorsMax } from '../../src/base/descriptors.ts'

for (const [wanted, max, connections, why] of [
  [4096, 1_048_576, 4096, 'more than enough'],
  [4096, 8448, 4096, 'two for each, and 256'],
  [4096, 8447, 4095, 'one too few for one more'],
  [4096, 1024, 384, 'half of what is left beside 256'],
  [4096, 64, 16, 'some at the least'],
  [10, 64, 10, 'no more than wanted'],
  [4096, undefined, 4096, 'the system does not tell'],
] as const) {
  test(`the descriptors of ${max} leave ${connections} of ${wanted} connections: ${why}`, () => {
    expect(connectionsWithin(wanted, max)).toBe(connections)
  })
}

test('what the process may open is read from the system', () => {
  expect(descriptorsMax()).toBeGreaterThan(256)
})
