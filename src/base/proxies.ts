import type { Environment } from './config-load.ts'
import { ConfigError } from './config-trouble.ts'

/** The way out, as the environment names it; a URL may hold a password, so none is ever printed whole. */
export type Proxies = {
  readonly http?: string
  readonly https?: string
  /** Hosts that are reached without. */
  readonly no?: string
}

/**
 * Reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY; like curl, the lower-case name wins.
 *
 * @throws {ConfigError} one of them is no URL of a proxy
 */
export function proxiesIn(environment: Environment = process.env): Proxies {
  const read = (name: string) => environment[name] || environment[name.toUpperCase()] || undefined
  const [http, https, no] = [read('http_proxy'), read('https_proxy'), read('no_proxy')]
  for (const [name, url] of Object.entries({ HTTP_PROXY: http, HTTPS_PROXY: https })) {
    if (url !== undefined && !isProxy(url)) {
      throw new ConfigError([`${name}: the URL of a proxy such as http://proxy.example:3128 is wanted`])
    }
  }
  return { ...(http !== undefined && { http }), ...(https !== undefined && { https }), ...(no !== undefined && { no }) }
}

const isProxy = (text: string): boolean => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)
