import { isIP, type LookupFunction } from 'node:net'
import { type Outside, systemOutside } from '../../src/base/clock.ts'
import { configSchema, type UpstreamConfig } from '../../src/base/config.ts'
import { OciError } from '../../src/base/errors.ts'
import { silentLog } from '../../src/base/log.ts'
import { findRegistryHost, parseReference, parseRepositoryPath } from '../../src/oci/names.ts'
import type { Endpoints } from '../../src/upstream/endpoints.ts'
import type { BlobTold } from '../../src/upstream/told.ts'
import { Upstream, type UpstreamParts } from '../../src/upstream/upstream.ts'

export const path = parseRepositoryPath('library/a')
export const latest = parseReference('latest')
export const never = new AbortController().signal

export type At = {
  readonly config?: object
  readonly outside?: Outside
  readonly parts?: Partial<UpstreamParts>
  readonly host?: string
}

export type UpstreamAt = Endpoints & AsyncDisposable & { readonly whole: Upstream }

/** An upstream whose endpoints are these origins, asked as its own accounts. */
export function upstreamAt(origins: string | readonly string[], { config, outside, parts, host }: At = {}): UpstreamAt {
  const name = findRegistryHost(host ?? 'reg.test')
  if (!name) throw new Error(`no host: ${host}`)
  const endpoints = [origins].flat()
  const complete = endpoints.length > 0 ? { ...configOf(config ?? {}), endpoints } : configOf(config ?? {})
  const whole = new Upstream(name, complete, outside ?? systemOutside, { log: silentLog, ...parts })
  return Object.assign(whole.ours, { whole, [Symbol.asyncDispose]: () => whole[Symbol.asyncDispose]() })
}

function configOf(given: object): UpstreamConfig {
  const { upstreams } = configSchema.parse({ upstreams: { 'reg.test': given } })
  const found = upstreams['reg.test']
  if (!found) throw new Error('no configuration')
  return found
}

/** What was thrown, as `reason fault`. */
export async function faultOf(failing: Promise<unknown>): Promise<string> {
  try {
    await failing
  } catch (error) {
    return error instanceof OciError ? `${error.reason} ${error.fault}` : String(error)
  }
  return 'nothing'
}

/** The first endpoint's only way to a blob. */
export function openBlob(upstream: Endpoints, digest: Parameters<Endpoints['headBlob']>[1], start = 0, end?: number) {
  const [endpoint] = upstream.endpoints
  if (!endpoint) throw new Error('no endpoint')
  return endpoint.openBlob(path, digest, { start, end }, never)
}

/** All bytes of an open blob, copied. */
export async function bytesOf(told: BlobTold): Promise<Buffer> {
  if (told.at !== 'found') throw new Error(`the blob is ${told.at}`)
  const pieces: Buffer[] = []
  for await (const piece of told.pieces) pieces.push(Buffer.from(piece))
  return Buffer.concat(pieces)
}

/** A clock that runs `times` as fast as the system's, for waits of a minute. */
export function hurried(times: number): Outside {
  const { clock, random } = systemOutside
  return {
    random,
    clock: {
      wallMs: () => clock.wallMs(),
      monotonicMs: () => clock.monotonicMs() * times,
      sleep: (ms, signal) => clock.sleep(ms / times, signal),
      after: (ms, act) => clock.after(ms / times, act),
    },
  }
}

/** A resolver with answers of our own; what it doesn't know is 127.0.0.1. Keeps what it was asked. */
export function resolverOf(addresses: Readonly<Record<string, readonly string[]>> = {}) {
  const asked: string[] = []
  const lookup: LookupFunction = (hostname, _options, callback) => {
    asked.push(hostname)
    const found = addresses[hostname] ?? ['127.0.0.1']
    process.nextTick(() =>
      callback(
        null,
        found.map((address) => ({ address, family: isIP(address) })),
      ),
    )
  }
  return { asked, lookup }
}

/** The origin with another name for its host. */
export const named = (origin: string, host: string): string => origin.replace('127.0.0.1', host)
