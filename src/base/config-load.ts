import { readFileSync } from 'node:fs'
import { type Document, isMap, isScalar, LineCounter, parseDocument, parse as parseYaml } from 'yaml'
import { type Config, configSchema, Secret } from './config.ts'
import { contradictionsIn } from './config-checks.ts'
import { troublesInFiles, unreadableText } from './config-files.ts'
import { type ConfigKey, configKeys } from './config-keys.ts'
import { ConfigError, nearestOf, type Path, pathText, type Trouble, troublesOf } from './config-trouble.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Where values come from: the file, over it the environment, over it flags (by their whole name, `--disk-cap`). */
export type ConfigSources = {
  readonly file?: { readonly name: string; readonly text: string } | undefined
  readonly environment: Environment
  readonly flags: ReadonlyMap<string, string>
}

/** `warnings` are sentences for the log. */
export type LoadedConfig = { readonly config: Config; readonly warnings: readonly string[] }

const FILE_BYTES_MAX = 1024 * 1024

/**
 * Reads the whole configuration once: complete, checked and frozen.
 *
 * @param path of the file; without one, `MILLPOND_CONFIG` may name it; without that, the defaults hold
 * @throws {ConfigError} with every problem's place, what is wrong and what is allowed
 */
export function loadConfig(
  path: string | undefined,
  flags: ReadonlyMap<string, string>,
  environment: Environment = process.env,
): LoadedConfig {
  const name = path ?? environment['MILLPOND_CONFIG']
  return parseConfig({ file: name === undefined || name === '' ? undefined : readFile(name), environment, flags })
}

function readFile(name: string): { name: string; text: string } {
  try {
    return { name, text: readFileSync(name, 'utf8') }
  } catch (error) {
    throw new ConfigError([`${name} can't be read: ${unreadableText(error)}`])
  }
}

/** @throws {ConfigError} */
export function parseConfig({ file, environment, flags }: ConfigSources): LoadedConfig {
  const keys = configKeys()
  const document = file && parseFile(file)
  const origins = new Map<string, string>()
  const raw = plainOf(document)
  const sayWhere = ({ path, says, isOfKey }: Trouble) =>
    `${placeOf(path, isOfKey ?? false, origins, document)}${path.length > 0 ? `${pathText(path)} ` : ''}${says}`
  overlay(raw, keys, (key) => variableOf(environment, key.environment), origins)
  overlay(raw, keys, (key) => flagOf(flags, key.flag), origins)
  const parsed = configSchema.safeParse(raw)
  if (!parsed.success) throw new ConfigError(troublesOf(parsed.error, raw, keys).map(sayWhere))
  const troubles = [...contradictionsIn(parsed.data), ...troublesInFiles(parsed.data)]
  if (troubles.length > 0) throw new ConfigError(troubles.map(sayWhere))
  const config = withPasswords(parsed.data, environment, sayWhere)
  return { config: frozen(config), warnings: unknownVariables(environment, keys) }
}

type ParsedFile = { readonly name: string; readonly document: Document; readonly lines: LineCounter }

function parseFile({ name, text }: { name: string; text: string }): ParsedFile {
  if (text.length > FILE_BYTES_MAX) throw new ConfigError([`${name} is larger than 1 MiB`])
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' })
  const problems = [...document.errors, ...document.warnings] // a tag that is not known would be dropped in silence
  if (problems.length === 0) return { name, document, lines }
  throw new ConfigError(
    problems.map(({ pos, message }) => `${name}:${lines.linePos(pos[0]).line}: ${withoutQuotes(message)}`),
  )
}

/** The parser's sentence without what it quotes from the file, which may be a secret. */
const withoutQuotes = (message: string): string => message.replace(/["'`:].*/s, '…').split('\n', 1)[0] ?? ''

function plainOf(file: ParsedFile | undefined): Record<string, unknown> {
  if (!file || file.document.contents === null) return {}
  if (!isMap(file.document.contents)) throw new ConfigError([`${file.name}:1: a map of keys is wanted`])
  try {
    return file.document.toJS() as Record<string, unknown>
  } catch (error) {
    throw new ConfigError([`${file.name}: ${withoutQuotes(error instanceof Error ? error.message : '')}`]) // an alias
  }
}

type Given = { readonly by: string; readonly text: string }

const variableOf = (environment: Environment, name: string | undefined): Given | undefined => {
  const text = name === undefined ? undefined : environment[name]
  return name === undefined || text === undefined ? undefined : { by: name, text }
}

const flagOf = (flags: ReadonlyMap<string, string>, flag: string | undefined): Given | undefined => {
  const text = flag === undefined ? undefined : flags.get(flag)
  return flag === undefined || text === undefined ? undefined : { by: flag, text }
}

function overlay(
  raw: Record<string, unknown>,
  keys: readonly ConfigKey[],
  find: (key: ConfigKey) => Given | undefined,
  origins: Map<string, string>,
): void {
  for (const key of keys) {
    const given = find(key)
    if (!given) continue
    putAt(raw, key.path, rawValueOf(key, given))
    origins.set(pathText(key.path), given.by)
  }
}

/** A variable's text as the file would hold it: lists and maps are YAML. */
function rawValueOf({ holds }: ConfigKey, { by, text }: Given): unknown {
  if (holds === 'text') return text
  if (holds === 'boolean') return text === 'true' || (text === 'false' ? false : text)
  try {
    return parseYaml(text, { prettyErrors: false, logLevel: 'error' })
  } catch (error) {
    throw new ConfigError([`${by}: ${withoutQuotes(error instanceof Error ? error.message : '')}`])
  }
}

function putAt(raw: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [name = '', ...rest] = path
  if (rest.length === 0) {
    raw[name] = value
    return
  }
  const below = raw[name]
  const next = typeof below === 'object' && below !== null ? { ...below } : {}
  putAt(next, rest, value)
  raw[name] = next
}

/** `millpond.yaml:7: `, or the variable or flag that gave the value. */
function placeOf(path: Path, isOfKey: boolean, origins: ReadonlyMap<string, string>, file?: ParsedFile): string {
  for (let length = path.length; length > 0; length -= 1) {
    const by = origins.get(pathText(path.slice(0, length)))
    if (by !== undefined) return `${by}: `
  }
  if (!file) return ''
  const offset = offsetOf(file.document, path, isOfKey)
  return `${file.name}:${offset === undefined ? '' : `${file.lines.linePos(offset).line}:`} `
}

/** Where the value at `path` begins, or its key; of what isn't there, where its nearest parent's key is. */
function offsetOf(document: Document, path: Path, isOfKey: boolean): number | undefined {
  if (path.length === 0) return 0
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true)
  const pair = isMap(parent) ? parent.items.find(({ key }) => isScalar(key) && String(key.value) === path.at(-1)) : null
  const value = document.getIn(path, true)
  const node = pair && (isOfKey || !isScalar(value)) ? pair.key : value
  const [start] = (node as { range?: readonly number[] } | undefined)?.range ?? []
  return start ?? offsetOf(document, path.slice(0, -1), true)
}

/** Accounts with their passwords at hand, read from where they are. */
function withPasswords(config: Config, environment: Environment, sayWhere: (trouble: Trouble) => string): Config {
  const problems: string[] = []
  const upstreams = Object.entries(config.upstreams).map(([name, upstream]) => {
    const accounts = upstream.accounts.map((account, at) => {
      if (account.password) return account
      const path = ['upstreams', name, 'accounts', at]
      const found = findPassword(account, environment)
      if (found instanceof Secret) return { ...account, password: found }
      problems.push(sayWhere({ path, says: found }))
      return account
    })
    return [name, { ...upstream, accounts }] as const
  })
  if (problems.length > 0) throw new ConfigError(problems)
  return { ...config, upstreams: Object.fromEntries(upstreams) }
}

type Named = { readonly passwordFile?: string | undefined; readonly passwordEnv?: string | undefined }

/** The password, or what is wrong. */
function findPassword({ passwordFile, passwordEnv }: Named, environment: Environment): Secret | string {
  if (passwordEnv !== undefined) {
    const text = environment[passwordEnv]
    return text ? new Secret(text) : `has passwordEnv ${passwordEnv}, but no such variable is set`
  }
  try {
    const text = readFileSync(passwordFile ?? '', 'utf8').replace(/\r?\n$/, '')
    return text === '' ? `has passwordFile ${passwordFile}, which is empty` : new Secret(text)
  } catch (error) {
    return `has passwordFile ${passwordFile}, which can't be read: ${unreadableText(error)}`
  }
}

/** What Kubernetes sets for a Service that is named millpond: no configuration. */
const OF_KUBERNETES = /^MILLPOND_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT|PORT)(?:_|$)/

/** Told, not refused: a variable may be there for another reason. */
function unknownVariables(environment: Environment, keys: readonly ConfigKey[]): string[] {
  const known = keys.flatMap(({ environment: name }) => (name === undefined ? [] : [name])).concat('MILLPOND_CONFIG')
  const unknown = Object.keys(environment).filter(
    (name) => name.startsWith('MILLPOND_') && !known.includes(name) && !OF_KUBERNETES.test(name),
  )
  return unknown.map((name) => {
    const near = nearestOf(name, known)
    return `the variable ${name} is not known${near === undefined ? '' : `: did you mean ${near}?`}`
  })
}

function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const each of Object.values(value)) frozen(each)
  return Object.freeze(value)
}
