import { z } from 'zod'
import { findDuration, findSize, KIB } from './units.ts'

/** A text that `find` understands; `wanted` completes the sentence "… is wanted". */
export const textOf = <T>(title: string, wanted: string, find: (text: string) => T | undefined) =>
  z
    .string({ error: `${wanted} is wanted` })
    .transform((text, context): T => {
      const found = find(text)
      if (found !== undefined) return found
      context.addIssue({ code: 'custom', message: `${wanted} is wanted` })
      return z.NEVER
    })
    .meta({ title })

export const duration = textOf('duration', 'a duration such as 250ms, 5s, 10m, 12h or 30d', findDuration)
/** 0s would be the end of every request. */
export const wait = textOf(
  'duration',
  'a duration longer than 0s, such as 250ms, 5s or 10m,',
  (text) => findDuration(text) || undefined,
)

/** As `textOf`, of what may be written as a plain number too. */
const amountOf = <T>(title: string, wanted: string, find: (text: string) => T | undefined) =>
  z
    .union([z.string(), z.number()], { error: `${wanted} is wanted` })
    .transform((value, context): T => {
      const found = find(String(value))
      if (found !== undefined) return found
      context.addIssue({ code: 'custom', message: `${wanted} is wanted` })
      return z.NEVER
    })
    .meta({ title })

const COUNT_WANTED = 'a whole number from 1 on'
const findCount = (text: string) => (/^[1-9][0-9]{0,8}$/.test(text) ? Number(text) : undefined)
export const count = amountOf('count', COUNT_WANTED, findCount)
export const countOrOff = amountOf('count, or off', `${COUNT_WANTED}, or off,`, (text) =>
  text === 'off' ? Number.POSITIVE_INFINITY : findCount(text),
)
export const sizeFrom = (leastBytes: number, least: string) =>
  amountOf('size', `a size such as 64KiB or 256MiB, ${least} at least,`, (text) => {
    const bytes = findSize(text)
    return bytes !== undefined && bytes >= leastBytes ? bytes : undefined
  })

export const rateOrOff = amountOf(
  'size, or off',
  'a size for each second such as 10MiB, 64KiB at least, or off,',
  (text) => {
    if (text === 'off') return text
    const bytes = findSize(text)
    return bytes !== undefined && bytes >= 64 * KIB ? { bytes } : undefined
  },
)
