import fc from 'fast-check'
import { OciError } from '../../src/base/errors.ts'

/** What must hold whatever comes: run briefly by every test run, and for minutes by `npm run fuzz`. */
export type Property = { readonly name: string; readonly property: fc.IAsyncProperty<unknown> | fc.IProperty<unknown> }

export const holds = <T>(name: string, of: fc.Arbitrary<T>, check: (value: T) => void): Property => ({
  name,
  property: fc.property(of, check) as fc.IProperty<unknown>,
})

export const holdsLater = <T>(name: string, of: fc.Arbitrary<T>, check: (value: T) => Promise<void>): Property => ({
  name,
  property: fc.asyncProperty(of, check) as fc.IAsyncProperty<unknown>,
})

/** What `act` gives, or the reason of the OciError that it throws; anything else thrown is a finding. */
export function reasonOr<T>(act: () => T): T | string {
  try {
    return act()
  } catch (error) {
    if (error instanceof OciError) return error.reason
    throw error
  }
}

export function mustBe(isSo: boolean, what: string, shown?: unknown): void {
  if (!isSo) throw new Error(`${what}: ${JSON.stringify(shown)}`)
}

/** Texts that are nearly by a grammar: its own pieces in any order, with some of anything between. */
export const nearly = (pieces: readonly string[], maxLength = 12): fc.Arbitrary<string> =>
  fc
    .array(
      fc.oneof({ weight: 6, arbitrary: fc.constantFrom(...pieces) }, fc.string({ unit: 'binary', maxLength: 3 })),
      {
        maxLength,
      },
    )
    .map((parts) => parts.join(''))
