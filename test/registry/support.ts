import { connect } from 'node:net'
import { systemOutside } from '../../src/base/clock.ts'
import { OciError, type Reason } from '../../src/base/errors.ts'
import type { Log } from '../../src/base/log.ts'
import { HIT } from '../../src/cache/facts.ts'
import type { ManifestFound } from '../../src/cache/manifests.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import type { Reference, RegistryHost, Repository } from '../../src/oci/names.ts'
import type { Done } from '../../src/registry/exchange.ts'
import { createFront, type FrontParts } from '../../src/registry/front.ts'
import type { Listings } from '../../src/registry/listings.ts'
import { ManifestAnswers, type ManifestSource } from '../../src/registry/manifests.ts'
import { Registries, type Rules } from '../../src/registry/registries.ts'

export const RULES: Rules = { default: false, hosts: [], allow: ['**'], deny: [], private: [], push: false }
export const hostOf = (text: string): RegistryHost => text as RegistryHost
export const registriesOf = (...rules: readonly (readonly [string, Rules])[]): Registries =>
  new Registries(rules.map(([host, each]) => [hostOf(host), each]))

/** Manifests that are there, by tag and digest, in memory or only to be asked for; the rest is absent, or fails. */
export class Shelf implements ManifestSource {
  readonly asked: string[] = []
  isInMemory = true
  failure: Error | undefined
  readonly #found = new Map<string, ManifestFound>()

  put(name: string, tag: string | undefined, mediaType: string, bytes: Buffer): Digest {
    const digest = digestOf(bytes)
    const found = { digest, mediaType, bytes, facts: HIT }
    this.#found.set(`${name}@${digest}`, found)
    if (tag !== undefined) this.#found.set(`${name}:${tag}`, { ...found, facts: { hit: true, ttlS: 60 } })
    return digest
  }

  find(repository: Repository, reference: Reference): ManifestFound | undefined {
    return this.isInMemory && !this.failure ? this.#found.get(keyOf(repository, reference)) : undefined
  }

  async get(repository: Repository, reference: Reference): Promise<ManifestFound> {
    this.asked.push(`GET ${keyOf(repository, reference)}`)
    if (this.failure) throw this.failure
    const found = this.#found.get(keyOf(repository, reference))
    if (!found) throw new OciError('manifestUnknown', 'no such manifest')
    return { ...found, facts: { hit: false, fwd: 'uri-miss', fwdStatus: 200, stored: true } }
  }

  async head(repository: Repository, reference: Reference) {
    const { bytes, ...rest } = await this.get(repository, reference)
    this.asked.push(`HEAD ${keyOf(repository, reference)}`)
    return { ...rest, sizeBytes: bytes.length }
  }
}

function keyOf({ host, path }: Repository, reference: Reference): string {
  return `${host}/${path}${'tag' in reference ? `:${reference.tag}` : `@${reference.digest}`}`
}

const noListings: Listings = {
  tags: async () => {
    throw new OciError('nameUnknown', 'no such repository')
  },
  referrers: async () => {
    throw new OciError('manifestUnknown', 'no referrers')
  },
}

/** A real front on a free port of loopback, with what it told when each request had ended. */
export async function startFront(parts: Partial<FrontParts> & { shelf?: Shelf } = {}) {
  const { shelf = new Shelf(), ...given } = parts
  const done: Done[] = []
  const refused: Reason[] = []
  const told: unknown[] = []
  const tell = (facts: unknown) => void told.push(facts)
  const log = { debug: tell, info: tell, warn: tell, error: tell } as unknown as Log
  const front = await createFront({
    registries: registriesOf(['docker.io', RULES], ['ghcr.io', RULES]),
    manifests: new ManifestAnswers(shelf),
    listings: noListings,
    answerBlob: async () => {
      throw new OciError('blobUnknown', 'no such blob')
    },
    targets: [],
    onWritten: async () => undefined,
    clock: systemOutside.clock,
    log,
    onDone: (each) => done.push(each),
    onRefused: (reason) => refused.push(reason),
    ...given,
  })
  const { port } = await front.listen({ host: '127.0.0.1', port: 0 })
  const url = `http${given.tls ? 's' : ''}://127.0.0.1:${port}`
  return { front, shelf, done, refused, told, port, url, [Symbol.asyncDispose]: () => front.drain() }
}

/** Writes `text` as it is and gives all that comes back until the connection ends. */
export async function exchangeRaw(port: number, text: string | Buffer): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined) // how it ended is seen in what came
  socket.write(text)
  let answer = ''
  socket.on('data', (piece) => {
    answer += piece.toString('latin1')
  })
  await new Promise((resolve) => socket.once('close', resolve))
  return answer
}

/** Resolves as soon as `holds`, looking at each turn of the loop. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}
