import { z } from 'zod'
import { configSchema } from './config.ts'

/** One key of the schema. In `path`, `*` stands for a name that the operator gives, `[]` for each of a list. */
export type ConfigKey = {
  readonly path: readonly string[]
  readonly meaning: string
  /** What its value is, in a few words. */
  readonly kind: string
  readonly holds: 'boolean' | 'text' | 'list' | 'keys'
  /** As it would be written in the file; undefined where there is none. */
  readonly default: string | undefined
  readonly isRequired: boolean
  /** Only where the path has no name of the operator's and no list. */
  readonly environment: string | undefined
  /** Of those, for one plain value. */
  readonly flag: string | undefined
}

/** JSON Schema as far as zod writes it for ours. */
type Shape = {
  readonly title?: string
  readonly description?: string
  readonly default?: unknown
  readonly type?: string | readonly string[]
  readonly enum?: readonly string[]
  readonly anyOf?: readonly Shape[]
  readonly properties?: Readonly<Record<string, Shape>>
  readonly required?: readonly string[]
  readonly items?: Shape
  readonly additionalProperties?: Shape | false
}

/** Every key, parents before their children, in the schema's order. */
export function configKeys(): readonly ConfigKey[] {
  return keysIn(z.toJSONSchema(configSchema, { io: 'input' }) as Shape, [])
}

function keysIn(shape: Shape, path: readonly string[]): ConfigKey[] {
  const { properties = {}, required = [], additionalProperties, items } = shape
  return [
    ...Object.entries(properties).flatMap(([name, each]) => {
      const below = [...path, name]
      return [keyOf(each, below, required.includes(name)), ...keysIn(each, below)]
    }),
    ...(additionalProperties ? keysIn(additionalProperties, [...path, '*']) : []),
    ...(items ? keysIn(items, [...path, '[]']) : []),
  ]
}

function keyOf(shape: Shape, path: readonly string[], isRequired: boolean): ConfigKey {
  const holds = holdsOf(shape)
  const isOurs = !path.includes('*') && !path.includes('[]')
  const hasVariable = isOurs && (shape.properties === undefined || holds !== 'keys')
  return {
    path,
    meaning: shape.description ?? '',
    kind: kindOf(shape),
    holds,
    default: defaultText(shape),
    isRequired,
    environment: hasVariable ? `MILLPOND_${path.map(snakeOf).join('_').toUpperCase()}` : undefined,
    flag:
      hasVariable && holds !== 'list' && holds !== 'keys'
        ? `--${path.map(snakeOf).join('-').replaceAll('_', '-')}`
        : undefined,
  }
}

const snakeOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

function holdsOf(shape: Shape): ConfigKey['holds'] {
  if (shape.type === 'boolean') return 'boolean'
  if (shape.type === 'array') return 'list'
  return shape.type === 'object' ? 'keys' : 'text'
}

function kindOf(shape: Shape): string {
  if (shape.title) return shape.title
  if (shape.enum) return shape.enum.map((value) => `\`${value}\``).join(', ')
  if (shape.items) return `list: ${shape.items.title ?? 'of keys'}`
  if (shape.anyOf) return shape.anyOf.map(kindOf).join(' or ')
  if (shape.type === 'boolean') return '`true` or `false`'
  if (shape.type === 'null') return '`null`'
  if (shape.type === 'object') return shape.additionalProperties ? 'keys by host' : 'keys'
  return 'text'
}

function defaultText(shape: Shape): string | undefined {
  if (shape.default === undefined || holdsOf(shape) === 'keys') return undefined
  return typeof shape.default === 'string' ? shape.default : JSON.stringify(shape.default)
}
