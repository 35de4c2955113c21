import { z } from 'zod'
import { duration, rateOrOff, textOf, wait } from './config-kinds.ts'
import { limits } from './config-limits.ts'
import { LOG_LEVELS } from './log.ts'
import { findSize } from './units.ts'

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

/** A number of bytes, or a part of the volume. */
export type Cap = { readonly bytes: number } | { readonly ofVolume: number }

/** Where a server listens; port 0 takes a free one. */
export type Listen = { readonly host: string; readonly port: number }

const secret = textOf('secret', 'a text', (text) => (text === '' ? undefined : new Secret(text)))

const CAP_WANTED = 'a size such as 200GiB or 214748364800, or a part of the volume such as 80%,'
const cap = z
  .union([z.string(), z.number()], { error: `${CAP_WANTED} is wanted` })
  .transform((value, context): Cap => {
    const found = findCap(String(value))
    if (found) return found
    context.addIssue({ code: 'custom', message: `${CAP_WANTED} is wanted` })
    return z.NEVER
  })
  .meta({ title: 'size or percentage' })

function findCap(text: string): Cap | undefined {
  const [, percent] = /^([0-9]{1,2}(?:\.[0-9]{1,9})?|100)%$/.exec(text) ?? []
  if (percent !== undefined) return Number(percent) > 0 ? { ofVolume: Number(percent) / 100 } : undefined
  const bytes = findSize(text)
  return bytes !== undefined && bytes > 0 ? { bytes } : undefined
}

const LISTEN_WANTED = 'an address and a port such as 0.0.0.0:5000, [::]:5000, localhost:5000 or :5000,'
const listen = textOf('address and port', LISTEN_WANTED, findListen)
const listenOrOff = textOf('address and port, or off', LISTEN_WANTED.replace(/,$/, ', or off,'), (text) =>
  text === 'off' ? text : findListen(text),
)

function findListen(text: string): Listen | undefined {
  const [, host, port] = /^(\[[0-9a-fA-F:.]{2,45}\]|[a-zA-Z0-9.-]{0,253}):([0-9]{1,5})$/.exec(text) ?? []
  if (host === undefined || Number(port) > 65_535) return undefined
  return { host: host === '' ? '0.0.0.0' : host.replace(/^\[|\]$/g, ''), port: Number(port) }
}

const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?$/
const HOST_WANTED = 'a host in lower case, with its port if it has one, such as ghcr.io or registry.local:5000,'
const findHost = (text: string) => (HOST.test(text) ? text : undefined)
const host = textOf('host', HOST_WANTED, findHost)
const hostKey = z.string().regex(HOST, `${HOST_WANTED} is wanted`)

/** Only what a repository's name or a tag may hold, and a glob's own signs. */
const PATTERN = /^[a-zA-Z0-9*?[\]{}!,()@+|][a-zA-Z0-9._:/*?[\]{}!,()@+|^-]{0,511}$/
const PATTERN_WANTED = 'a pattern such as library/alpine, team/** or **'
const pattern = textOf('pattern', PATTERN_WANTED, (text) => (PATTERN.test(text) ? text : undefined))
const PIN_WANTED = 'a repository or repository:tag pattern such as team/** or library/alpine:3.*'
const pin = textOf('repository or repository:tag pattern', PIN_WANTED, (text) =>
  PATTERN.test(text) && (text.match(/:/g)?.length ?? 0) <= 1 && !/^:|:$|:.*\//.test(text) ? text : undefined,
)

const ENDPOINT_WANTED = 'an http:// or https:// URL of scheme and host alone, such as https://registry-1.docker.io,'
/** Never with credentials, which would be printed with it, nor with a path: what it would mean differs by registry. */
const endpoint = textOf('URL', ENDPOINT_WANTED, findOrigin)

function findOrigin(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isPlain = url && /^https?:$/.test(url.protocol) && `${url.origin}/` === url.href
  return isPlain ? url.origin : undefined
}

const PUBLIC_WANTED = 'an http:// or https:// URL of scheme and host alone, such as https://millpond.example,'
const publicUrl = textOf('URL', PUBLIC_WANTED, findOrigin)

const account = z.strictObject({
  username: z.string().min(1).describe('The name to sign in with.'),
  password: secret.optional().describe('Its password or token. Give one of `password`, `passwordFile`, `passwordEnv`.'),
  passwordFile: z.string().min(1).optional().describe('A file that holds it; a newline at its end is no part of it.'),
  passwordEnv: z.string().min(1).optional().describe('The name of an environment variable that holds it.'),
  repositories: z
    .array(pattern)
    .prefault(['**'])
    .describe('The account asks for these alone. What it may read, everyone may who reaches Millpond.'),
})

const tagPolicy = z.strictObject({
  match: pattern.prefault('**').describe('The tags that this rule is for; the first rule that matches a tag holds.'),
  fresh: duration.prefault('5m').describe('How long a tag is answered without asking upstream, a tenth more or less.'),
  stale: duration
    .prefault('1m')
    .describe('How long after that it is still answered at once, while upstream is asked behind the answer.'),
  staleIfError: duration
    .prefault('30d')
    .describe('How long after `fresh` it is still answered when upstream fails or takes longer than 3 s.'),
  negative: duration.prefault('10s').describe('How long "no such tag" is remembered.'),
  gone: z
    .enum(['refuse', 'serve'])
    .default('refuse')
    .describe('What becomes of a tag that we hold and upstream has deleted.'),
})

const timeouts = z.strictObject({
  connect: wait.prefault('5s').describe('To connect, TLS included.'),
  headers: wait.prefault('15s').describe('From the request to the head of its answer.'),
  idle: wait.prefault('30s').describe('Between two pieces of a body.'),
})

const upstream = z.strictObject({
  default: z
    .boolean()
    .default(false)
    .describe('What a request means that names no registry. One at most; named by none: docker.io.'),
  endpoints: z
    .array(endpoint)
    .min(1)
    .optional()
    .describe('Where it is asked, in this order; all hold the same content. Left out: `https://` and its name.'),
  hosts: z.array(host).prefault([]).describe('Host headers that mean this upstream.'),
  accounts: z
    .array(account)
    .prefault([])
    .describe('Whom to ask as: the first whose `repositories` match, else nobody.'),
  tags: z
    .array(tagPolicy)
    .prefault([])
    .describe('For how long tags are believed. After these: one rule for all others.'),
  timeouts: timeouts.prefault({}).describe('How long upstream may take.'),
  allow: z.array(pattern).prefault(['**']).describe('The repositories that are served, manifests and blobs alike.'),
  deny: z.array(pattern).prefault([]).describe('Repositories that are not served, though allowed.'),
  private: z
    .array(pattern)
    .prefault([])
    .describe(
      'Repositories that are shown only to callers whose own credentials upstream accepts (docs/private.md); no ' +
        'account is used for them. Allow and deny come first.',
    ),
  pin: z.array(pin).prefault([]).describe('What is never evicted.'),
  push: z
    .boolean()
    .default(false)
    .describe("Whether writes are passed on, with the client's own credentials; else they are refused."),
  realms: z
    .array(host)
    .prefault([])
    .describe("Token servers on other hosts that may get the accounts' credentials, besides those of its own domain."),
  connect: z
    .strictObject({
      private: z
        .boolean()
        .default(false)
        .describe('Whether redirects and token servers of a public upstream may lead to private addresses.'),
      ca: z.string().min(1).nullable().default(null).describe('A PEM file of authorities to trust besides the usual.'),
    })
    .prefault({})
    .describe('Where connections may go, and whom they trust.'),
})

const ACCESS_MODES = ['open', 'htpasswd', 'mtls'] as const

const tls = z.strictObject({
  cert: z.string().min(1).describe('A PEM file: the certificate, then those that lead to its authority.'),
  key: z.string().min(1).describe('A PEM file: its key.'),
})

const access = z.strictObject({
  mode: z
    .enum(ACCESS_MODES)
    .default('open')
    .describe('What is asked for: `open` nothing, `htpasswd` a name and a password, `mtls` a client certificate.'),
  htpasswd: z
    .string()
    .min(1)
    .optional()
    .describe('For `htpasswd`: a file as `htpasswd -B` writes it, bcrypt alone; read again when it changes.'),
  ca: z.string().min(1).optional().describe('For `mtls`: a PEM file of the authorities that sign the clients.'),
})

export const configSchema = z.strictObject({
  listen: listen.prefault('0.0.0.0:5000').describe('Where clients are served.'),
  tls: tls.optional().describe('Serve clients over TLS. Left out: plain HTTP.'),
  access: access.prefault({}).describe('Who may ask anything at all. The admin listener is not meant.'),
  publicUrl: publicUrl
    .optional()
    .describe(
      'How clients reach Millpond where something in front of it ends TLS: their way to sign in for private ' +
        'repositories. Left out: as each client says it.',
    ),
  admin: z
    .strictObject({
      listen: listenOrOff
        .prefault('127.0.0.1:5001')
        .describe(
          'Where `/healthz`, `/readyz` and `/metrics` are served. It asks nobody who they are: keep it private.',
        ),
    })
    .prefault({})
    .describe('The listener for operators.'),
  disk: z
    .strictObject({
      folder: z.string().min(1).default('./data').describe('Where everything is kept. One process a folder.'),
      cap: cap
        .prefault('80%')
        .describe('How large it may grow, fills under way counted. Beyond it, the least recently used are evicted.'),
      scrub: rateOrOff
        .prefault('10MiB')
        .describe(
          'How much of what is held is read and compared with its digest, each second, behind everything else.',
        ),
    })
    .prefault({})
    .describe('What is kept, and where.'),
  limits: limits.prefault({}).describe('What clients and fills may take.'),
  log: z
    .strictObject({
      level: z.enum(LOG_LEVELS).default('info').describe('The least that is written.'),
      format: z
        .enum(['auto', 'pretty', 'json'])
        .default('auto')
        .describe('Of the lines: `auto` is pretty on a terminal, else JSON.'),
      requests: z.boolean().default(true).describe('Whether each request gets a line.'),
    })
    .prefault({})
    .describe('What is written to standard output.'),
  upstreams: z
    .record(hostKey, upstream.prefault({}))
    .prefault({})
    .describe('The registries that are served, by the name that clients know them by.'),
  wellKnown: z
    .boolean()
    .default(true)
    .describe('Whether the well-known public registries are served besides those above, Docker Hub among them.'),
})

export type Config = z.output<typeof configSchema>
export type AccessConfig = z.output<typeof access>
export type UpstreamConfig = z.output<typeof upstream>
export type AccountConfig = z.output<typeof account>
export type TagPolicy = z.output<typeof tagPolicy>

/** An upstream of which nothing was said. */
export const upstreamDefaults = (): UpstreamConfig => upstream.parse({})
