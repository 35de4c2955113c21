import type { z } from 'zod'
import type { ConfigKey } from './config-keys.ts'
import { scrubbed } from './log.ts'

/** Nothing starts with a configuration that is wrong: one line a problem, in `message` all of them. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.slice(0, PROBLEMS_TOLD_MAX).join('\n'))
    this.problems = problems
  }
}

const PROBLEMS_TOLD_MAX = 20
const SHOWN_CHARS_MAX = 80

export type Path = readonly (string | number)[]

/** A problem: where it is in the configuration, and a sentence that follows the key's name. */
export type Trouble = { readonly path: Path; readonly says: string; readonly isOfKey?: boolean }

/** What zod found, in sentences that name the value, what is wrong with it and what is wanted. */
export function troublesOf(error: z.ZodError, raw: unknown, keys: readonly ConfigKey[]): Trouble[] {
  return error.issues.flatMap((issue) => troublesOfIssue(issue, raw, keys))
}

function troublesOfIssue(issue: z.core.$ZodIssue, raw: unknown, keys: readonly ConfigKey[]): Trouble[] {
  const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part))
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: [...path, key], says: unknownText(path, key, keys), isOfKey: true }))
  }
  if (issue.code === 'invalid_key') {
    return [{ path, says: `is no name for an upstream: ${issue.issues[0]?.message ?? ''}`, isOfKey: true }]
  }
  const value = valueAt(raw, path)
  if (value === undefined) return [{ path: path.slice(0, -1), says: `lacks ${pathText(path)}` }]
  const hasNoValue = value === null && issue.code !== 'invalid_value'
  const is = hasNoValue ? 'has no value (leave the key out instead)' : `is ${shown(value, path)}`
  return [{ path, says: `${is}: ${wantedText(issue)}` }]
}

const NAMES_OF: Readonly<Record<string, string>> = {
  boolean: 'true or false',
  array: 'a list',
  object: 'a map of keys',
  record: 'a map of keys',
  string: 'a text',
}

function wantedText(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return `one of ${issue.values.join(', ')} is wanted`
  if (issue.code === 'too_small') return 'it must not be empty'
  const isOwnText = issue.code === 'custom' || issue.message.endsWith('is wanted')
  if (issue.code === 'invalid_type' && !isOwnText) return `${NAMES_OF[issue.expected] ?? issue.expected} is wanted`
  if (issue.code === 'invalid_union') return 'a text is wanted'
  return issue.message
}

function unknownText(parent: Path, key: string, keys: readonly ConfigKey[]): string {
  const names = namesBelow(parent, keys)
  const near = nearestOf(key, names)
  const known = near === undefined ? `known here are ${names.join(', ')}` : `did you mean ${near}?`
  return `is not known: ${known}`
}

function namesBelow(parent: Path, keys: readonly ConfigKey[]): string[] {
  return keys
    .filter(({ path }) => path.length === parent.length + 1 && parent.every((part, at) => isPart(path[at], part)))
    .map(({ path }) => path.at(-1) ?? '')
}

/** Whether a part of a real path is one that the schema's part stands for. */
const isPart = (ofSchema: string | undefined, part: string | number): boolean =>
  typeof part === 'number' ? ofSchema === '[]' : ofSchema === part || ofSchema === '*'

/** The name that `text` most likely was meant to be. */
export function nearestOf(text: string, names: readonly string[]): string | undefined {
  const far = Math.max(2, Math.floor(text.length / 3))
  const [nearest] = names
    .map((name) => ({ name, steps: editSteps(text.toLowerCase().slice(0, 64), name.toLowerCase()) }))
    .filter(({ steps }) => steps <= far)
    .sort((a, b) => a.steps - b.steps)
  return nearest?.name
}

/** Levenshtein's distance, a row at a time. */
function editSteps(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at)
  for (const [at, letter] of [...from].entries()) {
    const next = [at + 1]
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = (row[column - 1] ?? 0) + (to[column - 1] === letter ? 0 : 1)
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}

function valueAt(raw: unknown, path: Path): unknown {
  let value = raw
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
    value = Reflect.get(value, part)
  }
  return value
}

/** What stands at `path`, cut short; never what a secret's key holds. */
function shown(value: unknown, path: Path): string {
  if (path.some((part) => part === 'password')) return 'not usable'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  const text = scrubbed(JSON.stringify(value) ?? String(value))
  return text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text
}

/** `upstreams.docker.io.accounts[0].password` as an operator would say it. */
export function pathText(path: Path): string {
  return path.map((part, at) => (typeof part === 'number' ? `[${part}]` : `${at > 0 ? '.' : ''}${part}`)).join('')
}
