/*
 * admin: the face to operators, on a listener of its own.
 *
 * Promises: health says what this process itself can do: live is the event loop, ready is disk, index and not draining;
 * an upstream that is out changes neither, since what is held is still served. Numbers have bounded labels.
 * Knows nothing of clients' requests. Read next: readiness.ts; base/metrics.ts (what is counted).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Listen } from '../base/config.ts'
import type { Log } from '../base/log.ts'
import type { Readiness } from './readiness.ts'

/** What the admin listener shows. */
export type AdminParts = {
  readonly metrics: { text(): Promise<string>; readonly contentType: string }
  readonly readiness: Readiness
  readonly log: Log
}

type Page = { readonly status: number; readonly type: string; readonly body: string }

const HEADERS_TIMEOUT_MS = 10_000

/** Answers GET and HEAD of /healthz, /readyz and /metrics. */
export class Admin implements AsyncDisposable {
  readonly #server: Server
  readonly #parts: AdminParts

  constructor(parts: AdminParts) {
    this.#parts = parts
    this.#server = createServer(
      { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: HEADERS_TIMEOUT_MS },
      (request, response) => void this.#answer(request, response),
    )
  }

  /** @throws what node:net gives where it can't listen */
  listen({ host, port }: Listen): Promise<Listen> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        resolve({ host, port: (this.#server.address() as AddressInfo).port })
      })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  /** Never rejects. */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const page = await this.#pageOf(request).catch((error: unknown): Page => {
      this.#parts.log.error({ error }, 'an admin page failed')
      return textPage(500, 'internal error')
    })
    response.writeHead(page.status, {
      'content-type': page.type,
      'content-length': Buffer.byteLength(page.body),
      'cache-control': 'no-store',
    })
    response.end(request.method === 'HEAD' ? undefined : page.body)
  }

  async #pageOf({ method, url = '/' }: IncomingMessage): Promise<Page> {
    if (method !== 'GET' && method !== 'HEAD') return textPage(405, 'only GET and HEAD')
    switch (url.split('?', 1)[0]) {
      case '/healthz':
        return textPage(200, 'ok')
      case '/readyz': {
        const reasons = await this.#parts.readiness.reasonsAgainst()
        return textPage(reasons.length === 0 ? 200 : 503, reasons.length === 0 ? 'ok' : reasons.join('\n'))
      }
      case '/metrics':
        return { status: 200, type: this.#parts.metrics.contentType, body: await this.#parts.metrics.text() }
      default:
        return textPage(404, 'here are /healthz, /readyz and /metrics')
    }
  }
}

const textPage = (status: number, text: string): Page => ({
  status,
  type: 'text/plain; charset=utf-8',
  body: `${text}\n`,
})
