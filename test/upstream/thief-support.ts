import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { TEST_TLS } from '../support/tls.ts'

/** What a thief may see of us: nothing that was meant for another. */
export function expectNothingStolen(loot: readonly string[], secret: string): void {
  const all = loot.join('\n')
  expect(all).not.toMatch(/authorization|cookie|x-|referer|origin/i)
  for (const kept of [secret, Buffer.from(`bot:${secret}`).toString('base64'), 'tok-', 'canary']) {
    expect(all).not.toContain(kept)
  }
}

/** The names of all headers that came, once each, in order. */
export function headersIn(loot: readonly string[]): readonly string[] {
  const lines = loot.flatMap((request) => request.split('\n').slice(1))
  return [...new Set(lines.map((line) => (line.split(':')[0] ?? '').toLowerCase()))].sort()
}

/** The test certificate as a file of extra CAs. */
export async function caFile() {
  const folder = await mkdtemp(join(tmpdir(), 'upstream-ca-'))
  const file = join(folder, 'ca.pem')
  await writeFile(file, TEST_TLS.cert)
  return { file, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
}

/** Two free ports, one of which begins with the other's digits; below those that the system gives away by itself. */
export async function portsAlike(): Promise<readonly [number, number]> {
  for (let first = 2_000 + (process.pid % 1_000); first < 3_200; first++) {
    for (let last = 0; last < 10; last++) {
      const second = first * 10 + last
      if ((await isFree(first)) && (await isFree(second))) return [first, second]
    }
  }
  throw new Error('no two ports alike are free')
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  const { promise, resolve } = Promise.withResolvers<boolean>()
  server.once('error', () => resolve(false))
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  return await promise
}
