const BYTES_OF: Record<string, number> = { '': 1, B: 1, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 }
for (const [power, letter] of ['K', 'M', 'G', 'T'].entries()) BYTES_OF[`${letter}iB`] = 1024 ** (power + 1)

const MS_OF: Record<string, number> = { ms: 1, s: 1e3, m: 60e3, h: 3_600e3, d: 86_400e3 }

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB

/** Bytes in `200GiB`, `1.5GB`, `512B` or `214748364800`; undefined where it is no size. */
export function findSize(text: string): number | undefined {
  const [, amount, unit = ''] = /^([0-9]+(?:\.[0-9]+)?) ?([kKMGT]?i?B)?$/.exec(text.trim()) ?? []
  const bytes = amount === undefined ? Number.NaN : Math.round(Number(amount) * (BYTES_OF[unit] ?? Number.NaN))
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** Milliseconds in `250ms`, `5s`, `1h30m` or `30d`; undefined where it is no duration. */
export function findDuration(text: string): number | undefined {
  const trimmed = text.trim()
  if (!/^(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+$/.test(trimmed)) return undefined
  let total = 0
  for (const [, amount, unit] of trimmed.matchAll(/([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)/g)) {
    total += Number(amount) * (MS_OF[unit ?? ''] ?? Number.NaN)
  }
  return Number.isFinite(total) ? Math.round(total) : undefined
}

/** `1536` as `1.5 KiB`. */
export function sizeText(bytes: number): string {
  let amount = bytes
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (amount < 1024) return `${trimmedOf(amount)} ${unit}`
    amount /= 1024
  }
  return `${trimmedOf(amount)} TiB`
}

/** `90000` as `1.5m`. */
export function durationText(ms: number): string {
  const [unit = 'ms', size = 1] = Object.entries(MS_OF).findLast(([, each]) => ms >= each) ?? []
  return `${trimmedOf(ms / size)}${unit}`
}

const trimmedOf = (amount: number): string => String(Number(amount.toFixed(1)))
