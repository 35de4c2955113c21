import type { RepositoryPath } from '../oci/names.ts'
import type { Credentials, Pass, Proof } from './credentials.ts'
import { unusable } from './failure.ts'
import { HOPS_MAX, isRedirect, nextOf, withQueryOf } from './redirect.ts'
import type { Rest } from './rest.ts'
import type { Answer, Asking, Wire } from './wire.ts'

/**
 * What an ask came to. `refused`: 401 or 403, after one fresh token, or the token server refuses; `isElsewhere` says
 * that it was where a redirect led that answered.
 */
export type Reply =
  | { readonly at: 'answered'; readonly answer: Answer; readonly isPublic: boolean }
  | { readonly at: 'refused'; readonly isElsewhere: boolean }

/** Asks one endpoint: meets its challenges, follows its redirects, and keeps every header of ours from strangers. */
export class Asker {
  readonly #wire: Wire
  readonly #credentials: Credentials

  constructor(wire: Wire, credentials: Credentials) {
    this.#wire = wire
    this.#credentials = credentials
  }

  /**
   * @param rest is checked before, and begun by a 429
   * @throws {OciError} upstreamFailed, upstreamSlow, accountSpent
   */
  async ask(first: Asking, path: RepositoryPath, rest: Rest, signal: AbortSignal): Promise<Reply> {
    rest.check()
    let asking = first
    let pass = this.#credentials.forEndpoint(path)
    let isPublic = true
    let isElsewhere = false
    for (let hop = 0; hop <= HOPS_MAX; hop++) {
      const told = await this.#askOne(asking, pass, signal)
      if (!told) return { at: 'refused', isElsewhere }
      isPublic &&= told.proof.isPublic
      const { status, headers, body } = told.answer
      if (status === 429) {
        body.discard()
        throw rest.obey(headers)
      }
      if (!isRedirect(status)) return { at: 'answered', answer: told.answer, isPublic }
      body.discard()
      const next = withQueryOf(first.url, nextOf(asking.url, headers))
      if (next.origin !== asking.url.origin) {
        isElsewhere = true // and stays so: a redirect back home is a stranger's wish all the same
        pass = this.#credentials.forStranger(next, path)
      }
      asking = { ...asking, url: next }
    }
    throw unusable('redirect', 'the upstream redirects without end')
  }

  /** One URL, challenged as often as the pass allows; undefined where it refuses us. */
  async #askOne(
    asking: Asking,
    pass: Pass,
    signal: AbortSignal,
  ): Promise<{ answer: Answer; proof: Proof } | undefined> {
    for (;;) {
      const proof = await pass.findProof(signal)
      if (!proof) return undefined
      const { authorization } = proof
      const headers = authorization === undefined ? asking.headers : { ...asking.headers, authorization }
      const answer = await this.#wire.send({ ...asking, headers }, signal)
      if (answer.status !== 401 && answer.status !== 403) return { answer, proof }
      answer.body.discard()
      if (!pass.learn(answer)) return undefined
    }
  }
}
