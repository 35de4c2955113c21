/** Names and their bcrypt hashes; or what is wrong, in words that follow the file's name. */
export type Htpasswd =
  | { readonly at: 'read'; readonly value: ReadonlyMap<string, string> }
  | { readonly at: 'wrong'; readonly says: string }

const BCRYPT = /^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$/
const COST_MIN = 4
/** Each step doubles the work: at 14 one check takes a second of a core. */
const COST_MAX = 14
const NAME_CHARS_MAX = 255

/** Reads what `htpasswd -B` writes: a line a name. Other hashes are refused: they can be tried by the billion. */
export function readHtpasswd(text: string): Htpasswd {
  const users = new Map<string, string>()
  for (const [at, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    const [name, hash] = [line.slice(0, Math.max(colon, 0)), line.slice(colon + 1)]
    const trouble = troubleWith(name, hash) ?? (users.has(name) ? 'its name stands further up already' : undefined)
    if (trouble !== undefined) return { at: 'wrong', says: `line ${at + 1}: ${trouble}` }
    users.set(name, hash)
  }
  return users.size > 0
    ? { at: 'read', value: users }
    : { at: 'wrong', says: 'nobody is in it: htpasswd -B adds a name' }
}

/** Never with what stands there: it may be a password. */
function troubleWith(name: string, hash: string): string | undefined {
  if (name === '' || name.length > NAME_CHARS_MAX) return 'a name, a colon and a bcrypt hash are wanted'
  const [, cost] = BCRYPT.exec(hash) ?? []
  if (cost === undefined) return 'its hash is not bcrypt: make it anew with htpasswd -B'
  const isCostTaken = Number(cost) >= COST_MIN && Number(cost) <= COST_MAX
  return isCostTaken ? undefined : `its bcrypt cost is ${Number(cost)}: ${COST_MIN} to ${COST_MAX} are taken`
}
