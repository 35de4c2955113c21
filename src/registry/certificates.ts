import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Clock } from '../base/clock.ts'
import { OciError } from '../base/errors.ts'
import type { Access, Refusal } from './access.ts'

/**
 * A client certificate of our authorities. Without one TLS itself goes well, so that a person reads why nothing else
 * does; it is 403 and not 401, which would draw other credentials.
 */
export class Certificates implements Access {
  readonly #clock: Clock
  /** Until when a connection's certificate holds, by the wall; 0 where it has none that we take. */
  readonly #endMsOf = new WeakMap<Socket, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  challengeOf(): undefined {
    return undefined
  }

  refusalOf({ socket }: IncomingMessage): Refusal {
    const endMs = this.#endMsOf.get(socket) ?? this.#judge(socket)
    return endMs > this.#clock.wallMs() ? undefined : refused(socket)
  }

  #judge(socket: Socket): number {
    const endMs = endMsIn(socket)
    this.#endMsOf.set(socket, endMs)
    return endMs
  }
}

/** `authorized` tells of a TLS session, of which we resume none; the certificate itself must be there besides. */
function endMsIn(socket: Socket): number {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return 0
  const certificate = socket.getPeerX509Certificate()
  return certificate ? Date.parse(certificate.validTo) : 0
}

function refused(socket: Socket): OciError {
  const why = socket instanceof TLSSocket && !socket.authorized ? String(socket.authorizationError) : 'not valid now'
  return new OciError('denied', 'a client certificate of an authority that is trusted here is wanted', {
    cause: new Error(`client certificate: ${why}`),
  })
}
