import { hash as digest, randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../base/clock.ts'
import { OciError, ociErrorOf } from '../base/errors.ts'
import type { Access, Refusal } from './access.ts'
import { findBasic } from './basic.ts'
import { CheckQueue } from './check-queue.ts'

type Users = ReadonlyMap<string, string>

export type HtpasswdParts = {
  /** Names and bcrypt hashes: another map each time that they have changed. */
  readonly users: { readonly value: Users; look(): Promise<void> | undefined }
  readonly clock: Clock
  /** bcrypt's own: whether a password is a hash's. Takes time, elsewhere than on this thread. */
  readonly verify: (password: string, hash: string) => Promise<boolean>
}

/** What was found of one Authorization, by which users. */
type Verdict = { readonly isRight: boolean; readonly users: Users; readonly endMs: number }

const VERDICT_MS = 60_000
const VERDICTS_MAX = 4096
/** bcrypt reads no further, so that a longer password would be right by its beginning. */
const PASSWORD_BYTES_MAX = 72
const CHALLENGE = 'Basic realm="millpond"'

/**
 * A name and a password, checked by bcrypt. Verdicts are remembered for a minute, by a keyed hash of the header: no
 * password is kept. Right and wrong ones have places of their own: guesses displace nobody.
 */
export class Htpasswd implements Access {
  readonly #parts: HtpasswdParts
  readonly #queue: CheckQueue
  readonly #right = new LRUCache<string, Verdict>({ max: VERDICTS_MAX })
  readonly #wrong = new LRUCache<string, Verdict>({ max: VERDICTS_MAX })
  readonly #underWay = new Map<string, { readonly users: Users; readonly ended: Promise<Refusal> }>()
  /** Another in each process. One call costs a twentieth of an Hmac object's. */
  readonly #key = randomBytes(32).toString('latin1')

  constructor(parts: HtpasswdParts) {
    this.#parts = parts
    this.#queue = new CheckQueue(parts.clock)
  }

  challengeOf(): string {
    return CHALLENGE
  }

  refusalOf({ headers, socket }: IncomingMessage): Refusal | Promise<Refusal> {
    const { authorization } = headers
    if (authorization === undefined) return wrong()
    const from = socket.remoteAddress ?? ''
    const looking = this.#parts.users.look()
    return looking ? looking.then(() => this.#judge(authorization, from)) : this.#judge(authorization, from)
  }

  #judge(authorization: string, from: string): Refusal | Promise<Refusal> {
    const key = digest('sha256', this.#key + authorization, 'base64')
    const known = this.#right.get(key) ?? this.#wrong.get(key)
    const users = this.#parts.users.value
    if (known && known.users === users && known.endMs > this.#parts.clock.monotonicMs()) {
      return known.isRight ? undefined : wrong()
    }
    const underWay = this.#underWay.get(key)
    if (underWay?.users === users) return underWay.ended
    const ended = this.#check(key, authorization, from, users).finally(() => {
      if (this.#underWay.get(key)?.ended === ended) this.#underWay.delete(key)
    })
    this.#underWay.set(key, { users, ended })
    return ended
  }

  /** Never rejects. A name that nobody has costs what a wrong password costs: its time tells nothing. */
  async #check(key: string, authorization: string, from: string, users: Users): Promise<Refusal> {
    const given = findBasic(authorization)
    if (!given || !isReadable(given.password)) return wrong()
    const hash = users.get(given.username)
    try {
      const isMatch = await this.#queue.run(from, () => this.#parts.verify(given.password, hash ?? decoyOf(users)))
      const isRight = isMatch && hash !== undefined
      const endMs = this.#parts.clock.monotonicMs() + VERDICT_MS
      this.#right.delete(key)
      const places = isRight ? this.#right : this.#wrong
      places.set(key, { isRight, users, endMs })
      return isRight ? undefined : wrong()
    } catch (error) {
      return ociErrorOf(error)
    }
  }
}

const wrong = (): OciError => new OciError('unauthorized', 'a name and a password that are known here are wanted')

/** To bcrypt a zero byte begins the password anew: others than the right one would be right. */
const isReadable = (password: string): boolean =>
  !password.includes('\0') && Buffer.byteLength(password) <= PASSWORD_BYTES_MAX

/** A hash that no password has, as dear as the first name's. */
function decoyOf(users: Users): string {
  const [hash = ''] = users.values()
  return `${hash.slice(0, '$2b$10$'.length)}${'.'.repeat(53)}`
}
