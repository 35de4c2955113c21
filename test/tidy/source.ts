import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Comment, parseSync } from 'oxc-parser'

/** The repository's root, so that tests find it from wherever they are started. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** A node of the syntax tree, as loosely as the checks need it. */
export type Node = { readonly type: string; readonly start: number; readonly end: number } & Record<string, unknown>

type Import = { readonly to: string; readonly line: number }

/** One file as read: `path` is from the root, with `/`. */
export type Source = {
  readonly path: string
  readonly text: string
  readonly lines: readonly string[]
  readonly comments: readonly Comment[]
  readonly tree: Node
  /** Every module named by it: static, type-only, re-exported or dynamic. */
  readonly imports: readonly Import[]
  readonly reexports: readonly number[]
  readonly defaultExports: readonly number[]
}

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && typeof Reflect.get(value, 'type') === 'string'

/** All TypeScript files under a folder of the root. */
export function sourcesUnder(folder: string): readonly Source[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => readSource(posix.join(folder, path.replaceAll('\\', '/'))))
}

export function readSource(path: string, text = readFileSync(join(ROOT, path), 'utf8')): Source {
  const { module, comments, program, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]?.message}`)
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  const lineOf = (offset: number) => text.slice(0, offset).split('\n').length
  const reexported = module.staticExports
    .flatMap((each) => each.entries)
    .filter((entry) => entry.moduleRequest !== null)
  const named = [
    ...module.staticImports.map((each) => ({ to: each.moduleRequest.value, line: lineOf(each.start) })),
    ...reexported.map((entry) => ({ to: entry.moduleRequest?.value ?? '', line: lineOf(entry.start) })),
    ...module.dynamicImports.map(({ start, moduleRequest }) => ({
      to: text.slice(moduleRequest.start, moduleRequest.end).replace(/^['"`]|['"`]$/g, ''),
      line: lineOf(start),
    })),
  ]
  const defaults = module.staticExports.flatMap((each) => each.entries).filter((e) => e.exportName.kind === 'Default')
  return {
    path,
    text,
    lines,
    comments,
    tree: program as unknown as Node,
    imports: named.map(({ to, line }) => ({ to: to.startsWith('.') ? posix.join(posix.dirname(path), to) : to, line })),
    reexports: reexported.map((entry) => lineOf(entry.start)),
    defaultExports: defaults.map((entry) => lineOf(entry.start)),
  }
}

export const lineAt = (source: Source, offset: number): number => source.text.slice(0, offset).split('\n').length

/** Calls `see` for each node, parents first. */
export function walk(node: Node, see: (node: Node, parent: Node | undefined) => void, parent?: Node): void {
  see(node, parent)
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) walk(child, see, node)
  }
}

export const childOf = (node: Node, key: string): Node | undefined => {
  const value = node[key]
  return isNode(value) ? value : undefined
}

export const nameOf = (node: Node | undefined): string | undefined => {
  const name = node?.['name']
  return typeof name === 'string' ? name : undefined
}
