import { readFileSync } from 'node:fs'
import type { Config } from '../base/config.ts'
import { StartError } from '../base/listening.ts'
import type { FrontTls } from './front.ts'

/** What the files of `tls` hold now; undefined where there is none. @throws {StartError} */
export function readTls({ tls, access: { ca } }: Config): FrontTls | undefined {
  if (!tls) return undefined
  const { cert, key } = tls
  try {
    return { cert: readFileSync(cert), key: readFileSync(key), ...(ca !== undefined && { clientCa: readFileSync(ca) }) }
  } catch (error) {
    throw new StartError(`a file of tls can't be read: ${error instanceof Error ? error.message : ''}`, {
      cause: error,
    })
  }
}
