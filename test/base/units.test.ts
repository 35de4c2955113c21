import fc from 'fast-check'
import { expect, test } from 'vitest'
import { durationText, findDuration, findSize, sizeText } from '../../src/base/units.ts'

for (const [text, bytes] of [
  ['0', 0],
  ['214748364800', 214_748_364_800],
  ['200GiB', 200 * 1024 ** 3],
  ['1.5GB', 1.5e9],
  ['512B', 512],
  ['1 MiB', 1024 ** 2],
  ['1kB', 1000],
  ['1KB', 1000],
  ['1KiB', 1024],
  ['2TiB', 2 * 1024 ** 4],
  [' 1GiB ', 1024 ** 3],
  ['0.5KiB', 512],
  ['', undefined],
  ['GiB', undefined],
  ['10Gi', undefined],
  ['10gib', undefined],
  ['-1', undefined],
  ['1e9', undefined],
  ['1,5GB', undefined],
  ['.5GB', undefined],
  ['1 000', undefined],
  ['1GiB 1MiB', undefined],
  ['9007199254740993', undefined],
  ['99999999999TiB', undefined],
  ['1iB', undefined],
  ['NaN', undefined],
] as const) {
  test(`the size ${JSON.stringify(text)} is ${bytes ?? 'none'}`, () => {
    expect(findSize(text)).toBe(bytes)
  })
}

for (const [text, ms] of [
  ['0s', 0],
  ['250ms', 250],
  ['5s', 5_000],
  ['10m', 600_000],
  ['12h', 43_200_000],
  ['30d', 2_592_000_000],
  ['1h30m', 5_400_000],
  ['1.5s', 1_500],
  ['1m30s500ms', 90_500],
  [' 5s ', 5_000],
  ['', undefined],
  ['5', undefined],
  ['s', undefined],
  ['5S', undefined],
  ['5 s', undefined],
  ['-5s', undefined],
  ['1e3s', undefined],
  ['5w', undefined],
  ['5sec', undefined],
] as const) {
  test(`the duration ${JSON.stringify(text)} is ${ms ?? 'none'}`, () => {
    expect(findDuration(text)).toBe(ms)
  })
}

test('whole numbers of any unit are what arithmetic says', () => {
  const factors = { ms: 1, s: 1e3, m: 60e3, h: 3_600e3, d: 86_400e3 }

  fc.assert(
    fc.property(fc.nat(100_000), fc.constantFrom(...Object.entries(factors)), (amount, [unit, ms]) => {
      expect(findDuration(`${amount}${unit}`)).toBe(amount * ms)
    }),
  )
})

test('what is told of a size is at most a twentieth beside it', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 50 }), (bytes) => {
      const back = findSize(sizeText(bytes)) ?? Number.NaN

      expect(Math.abs(back - bytes) / bytes).toBeLessThanOrEqual(0.05)
    }),
  )
})

test('sizes and durations are told as people write them', () => {
  expect([0, 1023, 1536, 1024 ** 3].map(sizeText)).toEqual(['0 B', '1023 B', '1.5 KiB', '1 GiB'])
  expect([0, 250, 90_000, 86_400_000].map(durationText)).toEqual(['0ms', '250ms', '1.5m', '1d'])
})

for (const of of [
  (n: number) => '9'.repeat(n),
  (n: number) => '1s'.repeat(n / 2),
  (n: number) => `${'1.'.repeat(n / 2)}s`,
]) {
  test(`fault 59: 16 KiB such as ${of(8)} is read in time that is in proportion`, () => {
    const beganMs = performance.now()
    findDuration(of(16 * 1024))
    findSize(of(16 * 1024))

    // A nested quantifier would take years: the bound is far from both.
    expect(performance.now() - beganMs).toBeLessThan(500)
  })
}
