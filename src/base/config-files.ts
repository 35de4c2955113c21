import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { Config } from './config.ts'
import type { Trouble } from './config-trouble.ts'
import { readHtpasswd } from './htpasswd.ts'

/** What is wrong with the files that are named: a wrong one would else be met at the first connection, or never. */
export function troublesInFiles({ tls, access, upstreams }: Config): Trouble[] {
  return [
    ...(tls ? inPair(tls) : []),
    ...(access.ca === undefined ? [] : inAuthorities(access.ca, ['access', 'ca'])),
    ...(access.htpasswd === undefined ? [] : inHtpasswd(access.htpasswd)),
    ...Object.entries(upstreams).flatMap(([name, { connect }]) =>
      connect.ca === null ? [] : inAuthorities(connect.ca, ['upstreams', name, 'connect', 'ca']),
    ),
  ]
}

/** Why a file can't be read, in an operator's words. */
export function unreadableText(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EACCES') return 'permission denied'
  return typeof code === 'string' ? code : 'unknown error'
}

function inPair(tls: NonNullable<Config['tls']>): Trouble[] {
  const [cert, key] = [findText(tls.cert), findText(tls.key)]
  const troubles = [...unreadable(cert, ['tls', 'cert']), ...unreadable(key, ['tls', 'key'])]
  if (cert.at !== 'read' || key.at !== 'read') return troubles
  if (!areCertificates(cert.text)) return [{ path: ['tls', 'cert'], says: `is ${tls.cert}: ${CERTIFICATES_WANTED}` }]
  const isPair = succeeds(() => createSecureContext({ cert: cert.text, key: key.text }))
  return isPair ? [] : [{ path: ['tls', 'key'], says: `is ${tls.key}: the PEM of tls.cert's own key is wanted` }]
}

function inAuthorities(name: string, path: Trouble['path']): Trouble[] {
  const file = findText(name)
  if (file.at !== 'read') return unreadable(file, path)
  return areCertificates(file.text) ? [] : [{ path, says: `is ${name}: ${CERTIFICATES_WANTED}` }]
}

function inHtpasswd(name: string): Trouble[] {
  const path = ['access', 'htpasswd']
  const file = findText(name)
  if (file.at !== 'read') return unreadable(file, path)
  const found = readHtpasswd(file.text)
  return found.at === 'read' ? [] : [{ path, says: `is ${name}: ${found.says}` }]
}

const CERTIFICATES_WANTED = 'a file of certificates in PEM is wanted'
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]{0,65536}-----END CERTIFICATE-----/g

/** TLS itself passes over what is none, and trusts nobody then. */
function areCertificates(text: string): boolean {
  const found = text.match(CERTIFICATE) ?? []
  return found.length > 0 && found.every((each) => succeeds(() => new X509Certificate(each)))
}

type Read = { readonly at: 'read'; readonly text: string } | { readonly at: 'unreadable'; readonly says: string }

function findText(name: string): Read {
  try {
    return { at: 'read', text: readFileSync(name, 'utf8') }
  } catch (error) {
    return { at: 'unreadable', says: `is ${name}, which can't be read: ${unreadableText(error)}` }
  }
}

const unreadable = (file: Read, path: Trouble['path']): Trouble[] =>
  file.at === 'read' ? [] : [{ path, says: file.says }]

function succeeds(act: () => unknown): boolean {
  try {
    act()
    return true
  } catch {
    return false // why OpenSSL won't have it is nothing that an operator could read
  }
}
