import type { IncomingMessage } from 'node:http'
import type { OciError } from '../base/errors.ts'

/** Why a request is not let in; undefined lets it in. */
export type Refusal = OciError | undefined

/**
 * Our own front door: judged before anything of a request is read but its head's own fields, so that who isn't let in
 * gets one answer for all there is and is not (fault 81).
 */
export type Access = {
  /** A promise only where it takes time; it never rejects. */
  refusalOf(request: IncomingMessage): Refusal | Promise<Refusal>
  /** What WWW-Authenticate says beside a 401. */
  challengeOf(request: IncomingMessage): string | undefined
}

/** Nobody is asked: the network is the door. */
export const OPEN: Access = { refusalOf: () => undefined, challengeOf: () => undefined }
