import type { Listen } from './config.ts'

/** Nothing could be started, for a reason that the operator can do something about; `message` is for a person. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

const SAYINGS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process listens there',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'that port needs more rights than this process has',
  ENOTFOUND: 'no such host is known',
}

/** What a failed listen means, for whoever started it: `key` is the configuration's. */
export function listenTrouble(key: string, listen: Listen, error: unknown): StartError {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  const why = typeof code === 'string' ? (SAYINGS[code] ?? code) : 'unknown error'
  return new StartError(`can't listen on ${listenText(listen)}: ${why} (the key is ${key})`, { cause: error })
}

/** As a URL has it: an IPv6 address in brackets. */
export const listenText = ({ host, port }: Listen): string => `${host.includes(':') ? `[${host}]` : host}:${port}`
