import type { Bench } from './bench.ts'

/** Who does the work; `copying` is nginx without sendfile, `direct` the upstream itself. */
export const CONTENDERS = ['millpond', 'registry', 'nginx', 'copying', 'direct'] as const
export type Who = (typeof CONTENDERS)[number]

export const NAME_OF: Record<Who, string> = {
  millpond: 'Millpond',
  registry: 'docker-registry',
  nginx: 'nginx',
  copying: 'nginx copying',
  direct: 'direct',
}

/** What Millpond has to reach: a bound, or a bound as a multiple of a peer's figure in the same run. */
export type Target = { readonly atMost: number; readonly of?: Who } | { readonly atLeast: number; readonly of?: Who }

export type Row = {
  readonly what: string
  readonly figures: Readonly<Partial<Record<Who, number>>>
  /** The peer that the printed ratio is to; the target's own where there is one. */
  readonly ratioTo?: Who
  readonly target?: Target
}

/** One question a file: it starts its servers, does the work, checks the bytes that it timed. */
export type Question = {
  readonly name: string
  readonly ask: (bench: Bench) => Promise<readonly Row[]>
}

/** The samples of one figure, by contender; told as medians. */
export class Samples {
  readonly #values = new Map<Who, number[]>()

  add(who: Who, value: number): void {
    this.#values.set(who, [...(this.#values.get(who) ?? []), value])
  }

  medians(): Partial<Record<Who, number>> {
    return Object.fromEntries([...this.#values].map(([who, values]) => [who, medianOf(values)]))
  }
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

/** What the target asks for in this run's own unit. */
export function boundOf(target: Target, figures: Row['figures']): number {
  const factor = 'atMost' in target ? target.atMost : target.atLeast
  return target.of === undefined ? factor : factor * (figures[target.of] ?? Number.NaN)
}

/** Whether the target is met; undefined where a figure is missing. */
export function isMet({ target, figures }: Row): boolean | undefined {
  if (target === undefined || figures.millpond === undefined) return undefined
  const bound = boundOf(target, figures)
  if (Number.isNaN(bound)) return undefined
  return 'atMost' in target ? figures.millpond <= bound : figures.millpond >= bound
}
