/** Whom a client says it is. */
export type Credentials = { readonly username: string; readonly password: string }

/** Longer than any token that a cloud gives for a password; a request's head may be 64 KiB. */
export const CREDENTIALS_BYTES_MAX = 16 * 1024
const BASIC = /^basic +([A-Za-z0-9+/_-]+={0,2}) *$/i
const HEADER_CHARS_MAX = Math.ceil((CREDENTIALS_BYTES_MAX * 4) / 3) + 16

/** The credentials of a Basic Authorization (RFC 7617 §2, UTF-8), or undefined where it is none. */
export function findBasic(authorization: string | undefined): Credentials | undefined {
  if (authorization === undefined || authorization.length > HEADER_CHARS_MAX) return undefined
  const [, encoded] = BASIC.exec(authorization) ?? []
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString()
  const colon = text.indexOf(':')
  return colon > 0 ? { username: text.slice(0, colon), password: text.slice(colon + 1) } : undefined
}
