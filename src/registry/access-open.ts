import { readFileSync } from 'node:fs'
import { verify } from '@node-rs/bcrypt'
import type { Clock } from '../base/clock.ts'
import type { AccessConfig } from '../base/config.ts'
import { readHtpasswd } from '../base/htpasswd.ts'
import { StartError } from '../base/listening.ts'
import type { Log } from '../base/log.ts'
import { WatchedFile } from '../base/watched-file.ts'
import { type Access, OPEN } from './access.ts'
import { Certificates } from './certificates.ts'
import { Htpasswd } from './htpasswd.ts'

type Around = { readonly clock: Clock; readonly log: Log }

/** The front door that the configuration says. @throws {StartError} its file is not as it was a moment ago */
export function openAccess({ mode, htpasswd = '' }: AccessConfig, around: Around): Access {
  switch (mode) {
    case 'open':
      return OPEN
    case 'mtls':
      return new Certificates(around.clock)
    case 'htpasswd':
      return new Htpasswd({ users: openUsers(htpasswd, around), clock: around.clock, verify })
    default:
      return mode satisfies never
  }
}

function openUsers(name: string, around: Around): WatchedFile<ReadonlyMap<string, string>> {
  const found = readHtpasswd(textOf(name))
  if (found.at === 'read') return new WatchedFile({ name, read: readHtpasswd, value: found.value, ...around })
  throw new StartError(`access.htpasswd is ${name}: ${found.says}`)
}

function textOf(name: string): string {
  try {
    return readFileSync(name, 'utf8')
  } catch (error) {
    throw new StartError(`access.htpasswd is ${name}, which can't be read`, { cause: error })
  }
}
