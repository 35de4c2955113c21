import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import type { Credentials } from './basic.ts'

/** What a token of ours holds: credentials, or that nobody gave any. */
export type Opened = { readonly credentials: Credentials | undefined }

/** Clients take less than 60 s for 60 s. */
export const TOKEN_LIFE_MS = 5 * 60_000

const CIPHER = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16

/**
 * Tokens that hold what they stand for, sealed, so that nothing is kept for a client, in memory or on disk. The key is
 * another in each process: a token of before a restart opens nothing.
 */
export class TokenSeal {
  readonly #key = randomBytes(32)
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  seal(credentials: Credentials | undefined): string {
    const endMs = this.#clock.monotonicMs() + TOKEN_LIFE_MS
    const plain = JSON.stringify(credentials ? [endMs, credentials.username, credentials.password] : [endMs])
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES })
    const sealed = [nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]
    return Buffer.concat(sealed).toString('base64url')
  }

  /** Undefined for what is none of ours, or has ended. */
  open(token: string): Opened | undefined {
    const plain = this.#decrypted(Buffer.from(token, 'base64url'))
    if (plain === undefined) return undefined
    const [endMs, username, password] = JSON.parse(plain) as [number, string?, string?]
    if (endMs <= this.#clock.monotonicMs()) return undefined
    const isNobody = username === undefined || password === undefined
    return { credentials: isNobody ? undefined : { username, password } }
  }

  #decrypted(bytes: Buffer): string | undefined {
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined
    const nonce = bytes.subarray(0, NONCE_BYTES)
    const decipher = createDecipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES })
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
    try {
      return `${decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8')}${decipher.final('utf8')}`
    } catch {
      return undefined // not sealed by this key, or changed since
    }
  }
}
