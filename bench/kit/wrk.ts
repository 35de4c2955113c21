import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { MANIFEST_ACCEPT } from './images.ts'
import { toolPath } from './tools.ts'

export type Load = { readonly requests: number; readonly perSecond: number; readonly p99Ms: number }

const MS_OF: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000 }

/**
 * GETs one path over and over from one thread.
 *
 * @throws {Error} when any answer is not a 200 with `bodyBytes` or more, or is late or cut
 */
export async function wrk(o: {
  readonly port: number
  readonly path: string
  readonly connections: number
  readonly seconds: number
  readonly bodyBytes: number
}): Promise<Load> {
  const url = `http://127.0.0.1:${o.port}${o.path}`
  const args = [
    '-t',
    '1',
    '-c',
    `${o.connections}`,
    '-d',
    `${o.seconds}s`,
    '--timeout',
    '10s',
    '-H',
    `Accept: ${MANIFEST_ACCEPT}`,
    '--latency',
    url,
  ]
  const { stdout } = await promisify(execFile)(toolPath('wrk'), args)
  const [, requests, bytes, byteUnit = ''] = /([0-9]+) requests in [^,]+, ([0-9.]+)([KMGT]?B) read/.exec(stdout) ?? []
  const [, p99, unit = ''] = /99% +([0-9.]+)(us|ms|s|m)/.exec(stdout) ?? []
  const [, perSecond] = /Requests\/sec: +([0-9.]+)/.exec(stdout) ?? []
  if (!requests || !p99 || !perSecond || /Non-2xx|Socket errors/.test(stdout)) throw new Error(`wrk ${url}:\n${stdout}`)
  const readBytes = Number(bytes) * 1024 ** ['B', 'KB', 'MB', 'GB', 'TB'].indexOf(byteUnit)
  if (readBytes < Number(requests) * o.bodyBytes * 0.99) throw new Error(`wrk ${url}: short bodies:\n${stdout}`)
  return { requests: Number(requests), perSecond: Number(perSecond), p99Ms: Number(p99) * (MS_OF[unit] ?? Number.NaN) }
}
