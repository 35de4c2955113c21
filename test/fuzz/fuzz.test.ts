import fc from 'fast-check'
import { test } from 'vitest'
import { BODIES } from './bodies.ts'
import { GRAMMARS } from './grammars.ts'
import { WIRE } from './wire.ts'

for (const { name, property } of [...GRAMMARS, ...BODIES, ...WIRE]) {
  // what fails tells its seed
  test(`whatever comes: ${name}`, () => fc.assert(property, { numRuns: property.isAsync() ? 20 : 300 }))
}
