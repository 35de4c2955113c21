import { z } from 'zod'
import { findDuration, findSize } from './units.ts'

/** A secret is a type that prints as `***`; `reveal` is called only where it is sent. */
export class Secret {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  reveal(): string {
    return this.#text
  }

  toString(): string {
    return '***'
  }

  toJSON(): string {
    return '***'
  }
}

/** Milliseconds; written `5s`. */
const duration = z.string().transform((text, context) => {
  const ms = findDuration(text)
  if (ms !== undefined) return ms
  context.addIssue({ code: 'custom', message: 'a duration such as 250ms, 5s, 10m, 12h or 30d is wanted' })
  return z.NEVER
})

/** A number of bytes, or a part of the volume. */
export type Cap = { readonly bytes: number } | { readonly ofVolume: number }

const cap = z.union([z.string(), z.number()]).transform((value, context): Cap => {
  const text = String(value)
  const [, percent] = /^([0-9]{1,2}(?:\.[0-9]+)?|100)%$/.exec(text) ?? []
  if (percent !== undefined && Number(percent) > 0) return { ofVolume: Number(percent) / 100 }
  const bytes = findSize(text)
  if (bytes !== undefined && bytes > 0) return { bytes }
  context.addIssue({
    code: 'custom',
    message: 'a size such as 200GiB or 214748364800, or a part such as 80%, is wanted',
  })
  return z.NEVER
})

const secret = z.string().transform((text) => new Secret(text))
const pattern = z.string().min(1)
const httpUrl = z.url({ protocol: /^https?$/ })

const account = z.strictObject({
  username: z.string(),
  password: secret.optional(),
  passwordFile: z.string().optional(),
  repositories: z.array(pattern).default(['**']),
})

const tagPolicy = z.strictObject({
  match: pattern.default('**'),
  fresh: duration.prefault('5m'),
  stale: duration.prefault('1m'),
  staleIfError: duration.prefault('30d'),
  negative: duration.prefault('10s'),
  gone: z.enum(['refuse', 'serve']).default('refuse'),
})

const upstream = z.strictObject({
  default: z.boolean().default(false),
  endpoints: z.array(httpUrl).min(1).optional(), // left out: https:// and the name
  hosts: z.array(z.string()).default([]),
  accounts: z.array(account).default([]),
  tags: z.array(tagPolicy).default([]),
  timeouts: z
    .strictObject({
      connect: duration.prefault('5s'),
      headers: duration.prefault('15s'),
      idle: duration.prefault('30s'),
    })
    .prefault({}),
  allow: z.array(pattern).default(['**']),
  deny: z.array(pattern).default([]),
  pin: z.array(pattern).default([]),
  push: z.boolean().default(false),
  realms: z.array(z.string()).default([]),
  connect: z
    .strictObject({ private: z.boolean().default(false), ca: z.string().nullable().default(null) })
    .prefault({}),
})

export const configSchema = z.strictObject({
  listen: z.string().default('0.0.0.0:5000'),
  tls: z.strictObject({ cert: z.string(), key: z.string() }).optional(),
  admin: z.strictObject({ listen: z.string().default('127.0.0.1:5001') }).prefault({}),
  disk: z.strictObject({ folder: z.string().default('./data'), cap: cap.prefault('80%') }).prefault({}),
  upstreams: z.record(z.string(), upstream).default({}),
  wellKnown: z.boolean().default(true),
})

export type Config = z.output<typeof configSchema>
export type UpstreamConfig = z.output<typeof upstream>
export type AccountConfig = z.output<typeof account>
export type TagPolicy = z.output<typeof tagPolicy>
