import fc from 'fast-check'
import { expect, test } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { findBasic } from '../../src/registry/basic.ts'
import { Callers } from '../../src/registry/callers.ts'
import { TokenSeal } from '../../src/registry/token-seal.ts'

const seal = new TokenSeal(systemOutside.clock)
const callers = new Callers(seal)
/** RFC 7617 §2: a name has no colon. */
const names = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((name) => !name.includes(':'))
const passwords = fc.string({ unit: 'grapheme', maxLength: 200 })
const schemes = fc.constantFrom('Basic ', 'basic  ', 'Bearer ', 'BEARER ', 'Negotiate ', '')

test('whatever credentials are sent by Basic come out as they are, and through a token too', () => {
  fc.assert(
    fc.property(names, passwords, (username, password) => {
      const header = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`

      expect(findBasic(header)).toEqual({ username, password })
      expect(callers.open(`Bearer ${seal.seal({ username, password })}`)).toEqual({
        credentials: { username, password },
      })
    }),
  )
})

test('whatever stands in an Authorization header, nobody is named by what is neither Basic nor sealed here', () => {
  fc.assert(
    fc.property(schemes, fc.oneof(fc.string(), fc.base64String({ maxLength: 400 })), (scheme, rest) => {
      const found = callers.open(`${scheme}${rest}`)

      if (found) expect(findBasic(`${scheme}${rest}`)).toEqual(found.credentials)
    }),
  )
})

test('fault 59: a header of 60 KiB takes no time, whatever it is made of', () => {
  for (const filling of ['a', ' ', '=', 'A=', '{', '\u00e9', 'a ']) {
    for (const scheme of ['Basic ', 'Bearer ']) {
      const header = `${scheme}${filling.repeat(60 * 1024)}`
      const fromMs = performance.now()

      expect(callers.find(header)).toBeUndefined()

      expect(performance.now() - fromMs, `${scheme}${filling}`).toBeLessThan(250)
    }
  }
})
