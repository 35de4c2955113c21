import { readFileSync } from 'node:fs'

/** The version in package.json, which stands beside the folder of the code, be that the sources or what was built. */
export function versionOf(papers: URL = new URL('../../package.json', import.meta.url)): string {
  const read: unknown = JSON.parse(readFileSync(papers, 'utf8'))
  const version: unknown = typeof read === 'object' && read !== null ? Reflect.get(read, 'version') : undefined
  return typeof version === 'string' ? version : '0.0.0'
}
