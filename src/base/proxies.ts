import type { Environment } from './config-load.ts'

/** The way out, as the environment names it; a URL may hold a password, so none is ever printed whole. */
export type Proxies = {
  readonly http?: string
  readonly https?: string
  /** Hosts that are reached without. */
  readonly no?: string
}

/** Reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY; like curl, the lower-case name wins. */
export function proxiesIn(environment: Environment = process.env): Proxies {
  const read = (name: string) => environment[name] || environment[name.toUpperCase()] || undefined
  const [http, https, no] = [read('http_proxy'), read('https_proxy'), read('no_proxy')]
  return { ...(http !== undefined && { http }), ...(https !== undefined && { https }), ...(no !== undefined && { no }) }
}
