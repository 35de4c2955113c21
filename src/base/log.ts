import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino'

/** What rooms are handed: an object of facts first, then a fixed sentence. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>

/** One whose level may be set: a line below it is not written. */
export type LevelLog = Log & Pick<Logger, 'level'>

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
type LogLevel = (typeof LOG_LEVELS)[number]

export type LogOptions = {
  readonly level: LogLevel
  /** For a person at a terminal; else one JSON object a line. */
  readonly isPretty: boolean
  /** Left out: standard output. */
  readonly to?: DestinationStream
}

/** Keys whose values are never written, at any of the depths that our lines have. */
const SECRET_KEYS = ['password', 'token', 'secret', 'authorization', 'cookie', 'set-cookie']
const REDACTED = SECRET_KEYS.flatMap((key) => [`["${key}"]`, `*["${key}"]`, `*.*["${key}"]`])

/** Opens the log. Pretty lines are made in this process: a transport of pino's would cost a thread. */
export async function openLog({ level, isPretty, to }: LogOptions): Promise<LevelLog> {
  const plain = to ?? pino.destination({ fd: 1, sync: true })
  const destination = isPretty ? await prettyTo(plain, to === undefined) : plain
  const log: LevelLog = pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: REDACTED, censor: '***' },
      serializers: { error: errorFacts, cause: errorFacts, err: errorFacts },
      hooks: { streamWrite: scrubbed },
    },
    destination,
  )
  return log
}

/** Says nothing, to nobody. */
export const silentLog: Log = pino({ level: 'silent' }, { write: () => undefined })

/** Loaded only where somebody watches: it is a tenth of a second of a start. */
async function prettyTo(to: DestinationStream, colorize: boolean): Promise<DestinationStream> {
  const { prettyFactory } = await import('pino-pretty')
  const pretty = prettyFactory({ colorize, singleLine: true, translateTime: 'SYS:HH:MM:ss.l' })
  return { write: (line) => void to.write(pretty(line)) }
}

// One match takes all up to the text's end: what begins in the midst of it is not looked for again.
// Within a line what stands in a text is escaped: a query may go on behind a backslash.
const URL_IN_TEXT = /(https?:\/\/)([^\s?"\\]*)(\?(?:[^\s"\\]|\\.)*)?/gi
const CREDENTIALS = /\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{6,}/gi

/** A line without what may be a secret: user and query of a URL (a signed one), credentials of a header. */
export function scrubbed(line: string): string {
  if (!line.includes('://') && !line.includes('ea') && !line.includes('asic')) return line
  return line
    .replace(URL_IN_TEXT, (_, scheme: string, rest: string, query?: string) => {
      return `${scheme}${withoutUser(rest)}${query === undefined ? '' : '?***'}`
    })
    .replace(CREDENTIALS, '$1 ***')
}

/** Of a URL behind its scheme, and of any that stands within it. */
function withoutUser(rest: string): string {
  const parts = rest.split('/')
  const isAuthority = (at: number) => at === 0 || parts[at - 1] === ''
  return parts.map((part, at) => (isAuthority(at) ? part.replace(/^.*@/s, '***@') : part)).join('/')
}

const CAUSES_MAX = 5

/** An error as facts: message and code of it and of what caused it; the stack only of what nobody expected. */
function errorFacts(thrown: unknown, depth = 0): unknown {
  if (!(thrown instanceof Error)) return thrown
  const { code, fault, reason } = thrown as { code?: unknown; fault?: unknown; reason?: unknown }
  return {
    name: thrown.name,
    message: thrown.message,
    ...(typeof code === 'string' && { code }),
    ...(typeof fault === 'string' && { fault }),
    ...(typeof reason === 'string' && { reason }),
    ...(isUnexpected(thrown) && { stack: thrown.stack }),
    ...(thrown.cause !== undefined && depth < CAUSES_MAX && { cause: errorFacts(thrown.cause, depth + 1) }),
  }
}

/** What a programmer got wrong; failures of networks, disks and upstreams are told by their message and code. */
const isUnexpected = (error: Error): boolean =>
  error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError
