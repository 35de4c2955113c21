import type { Registries } from './registries.ts'
import { type Asked, parseRequest } from './request.ts'

const REMEMBERED_MAX = 4096
const URL_CHARS_MAX = 512

type Parsed = { readonly hostHeader: string | undefined; readonly asked: Asked }

/**
 * Requests by their URL. Clients ask for the same few manifests and blobs again and again, and parsing one costs as
 * much as finding what it asks for; so what these mean is remembered. What is wrong is parsed each time.
 */
export class Requests {
  readonly #registries: Registries
  readonly #remembered = new Map<string, Parsed>()

  constructor(registries: Registries) {
    this.#registries = registries
  }

  /** @throws {OciError} as parseRequest */
  parse(url: string, hostHeader: string | undefined): Asked {
    const found = this.#remembered.get(url)
    if (found && found.hostHeader === hostHeader) return found.asked
    const asked = parseRequest(url, hostHeader, this.#registries)
    const isRepeated = asked.route === 'manifest' || asked.route === 'blob'
    if (isRepeated && url.length <= URL_CHARS_MAX) this.#remember(url, { hostHeader, asked })
    return asked
  }

  /** The rules have changed: what was served may be no longer. */
  forget(): void {
    this.#remembered.clear()
  }

  /** When all places are taken, it begins anew: cheaper than to keep an order for them. */
  #remember(url: string, parsed: Parsed): void {
    if (this.#remembered.size >= REMEMBERED_MAX) this.#remembered.clear()
    this.#remembered.set(url, parsed)
  }
}
