/** One challenge of a WWW-Authenticate header: scheme and parameter names in lower case (they ignore case). */
export type Challenge = {
  readonly scheme: string
  readonly parameters: ReadonlyMap<string, string>
  readonly token68?: string
}

// RFC 9110 §5.6.2 (token), §11.2 (token68, auth-param), §5.6.4 (quoted-string). No quantifier stands within another.
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const TOKEN_68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y
const EQUALS = /[ \t]*=[ \t]*/y
const SPACES = /[ \t]+/y
const SEPARATORS = /[ \t,]*/y

/** A longer line is passed over: what a challenge names is remembered for each of thousands of repositories. */
const LINE_CHARS_MAX = 4_096

/**
 * The challenges in all WWW-Authenticate lines, in order (RFC 9110 §11.6.1). A comma separates parameters and
 * challenges alike: a token that no `=` follows starts a challenge. A line is read up to where it stops making sense.
 */
export function challengesOf(lines: readonly string[]): readonly Challenge[] {
  const read = lines.filter(({ length }) => length <= LINE_CHARS_MAX)
  return read.flatMap((line) => challengesIn(new Scanner(line)))
}

/** The one to answer: Bearer where it names a realm, else Basic; nothing else is ours. */
export function chosenOf(challenges: readonly Challenge[]): Challenge | undefined {
  return (
    challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm')) ??
    challenges.find(({ scheme }) => scheme === 'basic')
  )
}

/** The entries of a `scope` parameter (contracts of token servers: one quoted value, separated by spaces). */
export function scopesOf(challenge: Challenge): readonly string[] {
  return [...new Set((challenge.parameters.get('scope') ?? '').split(' ').filter((scope) => scope !== ''))]
}

type Draft = { readonly scheme: string; readonly parameters: Map<string, string>; token68?: string }

function challengesIn(scanner: Scanner): readonly Challenge[] {
  const found: Draft[] = []
  for (;;) {
    scanner.find(SEPARATORS)
    const name = scanner.find(TOKEN)?.toLowerCase()
    if (name === undefined) return found
    const current = found.at(-1)
    if (scanner.find(EQUALS) === undefined) {
      found.push(challengeAt(scanner, name))
      continue
    }
    const value = scanner.find(TOKEN) ?? scanner.findQuoted()
    if (value === undefined || !current) return found.slice(0, -1) // half a challenge is worse than none
    if (!current.parameters.has(name)) current.parameters.set(name, value)
  }
}

function challengeAt(scanner: Scanner, scheme: string): Draft {
  const draft: Draft = { scheme, parameters: new Map() }
  if (scanner.find(SPACES) === undefined) return draft
  const token68 = scanner.find(TOKEN_68)
  return token68 === undefined ? draft : { ...draft, token68 }
}

class Scanner {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** What the sticky pattern matches here, which is then passed. */
  find(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    if (found !== undefined) this.#at += found.length
    return found
  }

  /** The content of the quoted string here, `\x` as x; undefined where there is none or it doesn't end. */
  findQuoted(): string | undefined {
    if (this.#text[this.#at] !== '"') return undefined
    let content = ''
    for (let at = this.#at + 1; at < this.#text.length; at++) {
      if (this.#text[at] === '"') {
        this.#at = at + 1
        return content
      }
      if (this.#text[at] === '\\') at++
      content += this.#text[at] ?? ''
    }
    return undefined
  }
}
