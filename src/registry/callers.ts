import { type Caller, callerOf } from '../base/caller.ts'
import { Secret } from '../base/config.ts'
import { findBasic } from './basic.ts'
import type { Opened, TokenSeal } from './token-seal.ts'

/** Whom an Authorization header names: by Basic, or by a token of our own realm that holds credentials. */
export class Callers {
  readonly #seal: TokenSeal

  constructor(seal: TokenSeal) {
    this.#seal = seal
  }

  /** Undefined where it names nobody: nothing was sent, an anonymous token, or what we can't read. */
  find(authorization: string | undefined): Caller | undefined {
    const credentials = this.open(authorization)?.credentials
    return credentials && callerOf(credentials.username, new Secret(credentials.password))
  }

  /** Undefined where nothing was sent that we can read. */
  open(authorization: string | undefined): Opened | undefined {
    const credentials = findBasic(authorization)
    if (credentials) return { credentials }
    const token = findBearer(authorization)
    return token === undefined ? undefined : this.#seal.open(token)
  }
}

const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*) *$/i

/** The token of a Bearer Authorization (RFC 6750 §2.1). */
function findBearer(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : BEARER.exec(authorization)?.[1]
}
