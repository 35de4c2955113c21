import { childOf, lineAt, type Node, nameOf, type Source, walk } from './source.ts'

/** Rooms by floor, from the ground. An import goes to a lower floor, or stays in its room. */
const FLOORS: readonly (readonly string[])[] = [
  ['base'],
  ['oci'],
  ['upstream', 'store'],
  ['cache'],
  ['registry', 'admin'],
  ['parts.ts'],
  ['server.ts'],
  ['cli'],
  ['main.ts'],
]

const roomOf = (path: string): string => path.split('/')[1] ?? path
const floorOf = (room: string): number => FLOORS.findIndex((rooms) => rooms.includes(room))

export function wrongArrows(sources: readonly Source[]): string[] {
  return sources.flatMap((source) => {
    const from = roomOf(source.path)
    if (floorOf(from) < 0) return [`${source.path}: ${from} is no room of the design`]
    return source.imports
      .filter(({ to }) => to.startsWith('src/') && roomOf(to) !== from && floorOf(roomOf(to)) >= floorOf(from))
      .map(({ to, line }) => `${source.path}:${line} imports ${to}, which is not below it`)
  })
}

/** Each ring once, told from its first file in lexical order. */
export function importRings(sources: readonly Source[]): string[] {
  const importsOf = new Map(sources.map(({ path, imports }) => [path, imports.map(({ to }) => to)]))
  const rings = new Set<string>()
  const follow = (trail: readonly string[], done: Set<string>) => {
    const here = trail.at(-1) ?? ''
    for (const next of importsOf.get(here) ?? []) {
      const at = trail.indexOf(next)
      if (at >= 0) rings.add(ringText(trail.slice(at)))
      else if (!done.has(next)) follow([...trail, next], done)
    }
    done.add(here)
  }
  const done = new Set<string>()
  for (const { path } of sources) if (!done.has(path)) follow([path], done)
  return [...rings]
}

function ringText(ring: readonly string[]): string {
  const first = ring.indexOf([...ring].sort()[0] ?? '')
  return `${[...ring.slice(first), ...ring.slice(0, first)].join(' > ')}: a ring of imports`
}

const TIMERS = new Set(['setTimeout', 'setInterval'])
const OUTSIDE = new Set(['Date.now', 'Math.random', 'process.env', 'performance.now', 'AbortSignal.timeout'])
const TIMER_MODULES = /^(?:node:)?timers(?:\/promises)?$/

/**
 * Rule 14: time, randomness and the environment are handed in from base/. A turn of the loop (setImmediate) is no time.
 */
export function outsideTouched(source: Source): string[] {
  const found: string[] = []
  walk(source.tree, (node, parent) => {
    const touched = outsideOf(node, parent)
    if (touched) found.push(`${source.path}:${lineAt(source, node.start)} uses ${touched}`)
  })
  return found
}

function outsideOf(node: Node, parent: Node | undefined): string | undefined {
  switch (node.type) {
    case 'MemberExpression': {
      const name = `${nameOf(childOf(node, 'object'))}.${nameOf(childOf(node, 'property'))}`
      return OUTSIDE.has(name) ? name : undefined
    }
    case 'NewExpression':
      return isNow(node) ? 'new Date()' : undefined
    case 'ImportDeclaration':
      return isOfTimers(node) ? 'timers' : undefined
    case 'Identifier': {
      const isMember = parent !== undefined && (parent['property'] === node || parent['key'] === node)
      const isImported = parent?.type === 'ImportSpecifier'
      return TIMERS.has(nameOf(node) ?? '') && !isMember && !isImported ? nameOf(node) : undefined
    }
    default:
      return undefined
  }
}

function isNow(node: Node): boolean {
  const { arguments: given } = node
  return nameOf(childOf(node, 'callee')) === 'Date' && Array.isArray(given) && given.length === 0
}

function isOfTimers(node: Node): boolean {
  const { specifiers } = node
  if (!TIMER_MODULES.test(String(childOf(node, 'source')?.['value'])) || !Array.isArray(specifiers)) return false
  return specifiers.some((each: Node) => nameOf(childOf(each, 'imported')) !== 'setImmediate')
}

/** `any`, `x!`, and errors that are swallowed without a word. */
export function looseTypes(source: Source): string[] {
  const found: string[] = []
  walk(source.tree, (node) => {
    const at = `${source.path}:${lineAt(source, node.start)}`
    if (node.type === 'TSAnyKeyword') found.push(`${at} says any`)
    if (node.type === 'TSNonNullExpression') found.push(`${at} says !`)
    if (node.type === 'CatchClause' && isSilent(source, node)) found.push(`${at} swallows an error without a reason`)
  })
  return found
}

function isSilent(source: Source, clause: Node): boolean {
  const body = childOf(clause, 'body')
  const statements = body?.['body']
  if (!body || !Array.isArray(statements) || statements.length > 0) return false
  return !source.comments.some((comment) => comment.start >= body.start && comment.end <= body.end)
}

/** Rule 3: no inheritance but Error, no mutable module state, fields are `#`. */
export function looseState(source: Source): string[] {
  const found: string[] = []
  const { body } = source.tree
  for (const node of Array.isArray(body) ? (body as Node[]) : []) {
    const declared = childOf(node, 'declaration') ?? node
    if (declared.type === 'VariableDeclaration' && declared['kind'] !== 'const') {
      found.push(`${source.path}:${lineAt(source, node.start)} has state in a module`)
    }
  }
  walk(source.tree, (node) => {
    const at = `${source.path}:${lineAt(source, node.start)}`
    const isHidden = node['accessibility'] === 'private' || node['accessibility'] === 'protected'
    if (isHidden && node['kind'] !== 'constructor') found.push(`${at} is not a #field`) // a constructor has no #
    const parent = node.type === 'ClassDeclaration' ? childOf(node, 'superClass') : undefined
    if (parent && !nameOf(parent)?.endsWith('Error')) found.push(`${at} inherits`)
  })
  return found
}

export type FunctionLength = { readonly at: string; readonly lines: number }

const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'])

export function functionLengths(source: Source): FunctionLength[] {
  const found: FunctionLength[] = []
  walk(source.tree, (node) => {
    if (!FUNCTIONS.has(node.type)) return
    const first = lineAt(source, node.start)
    found.push({ at: `${source.path}:${first}`, lines: lineAt(source, node.end) - first + 1 })
  })
  return found
}

/** Lines with a comment, and lines with code; one that has both counts as both. */
export function commentLines(source: Source): { readonly comments: number; readonly code: number } {
  const commented = new Set<number>()
  let bare = source.text
  for (const { start, end } of source.comments) {
    for (let line = lineAt(source, start); line <= lineAt(source, end); line += 1) commented.add(line)
    bare = bare.slice(0, start) + bare.slice(start, end).replace(/[^\n]/g, ' ') + bare.slice(end)
  }
  return { comments: commented.size, code: bare.split('\n').filter((line) => line.trim() !== '').length }
}

/** A title, a page's text or a pattern of a test may be longer: cut in two it would be harder to find. */
const UNBREAKABLE = /^\s*(?:(?:test|describe)(?:\.\w+)?\(|\/\^)/

export function longLines(source: Source): string[] {
  const literals = literalLines(source)
  const isFree = (line: string, at: number) =>
    source.path.startsWith('test/') && (UNBREAKABLE.test(line) || literals.has(at + 1))
  return source.lines.flatMap((line, at) =>
    [...line].length > 120 && !isFree(line, at) ? [`${source.path}:${at + 1} is longer than 120`] : [],
  )
}

/** Lines within a template literal. */
function literalLines(source: Source): ReadonlySet<number> {
  const found = new Set<number>()
  walk(source.tree, (node) => {
    if (node.type !== 'TemplateElement') return
    for (let line = lineAt(source, node.start); line <= lineAt(source, node.end); line += 1) found.add(line)
  })
  return found
}

const UNFINISHED = /\b(?:TODO|FIXME|XXX|HACK)\b/
const UNRUN = new Set(['skip', 'only', 'todo', 'skipIf', 'runIf', 'fails'])
const SUITES = new Set(['test', 'it', 'describe', 'suite'])

export function unfinished(source: Source): string[] {
  const found = source.comments
    .filter(({ value }) => UNFINISHED.test(value))
    .map(({ start }) => `${source.path}:${lineAt(source, start)} leaves something to do`)
  walk(source.tree, (node) => {
    if (node.type !== 'MemberExpression' || !SUITES.has(nameOf(childOf(node, 'object')) ?? '')) return
    if (UNRUN.has(nameOf(childOf(node, 'property')) ?? '')) {
      found.push(`${source.path}:${lineAt(source, node.start)} is a test that may not run`)
    }
  })
  return found
}
