import { boundOf, CONTENDERS, isMet, NAME_OF, type Row, type Target, type Who } from './question.ts'

const HEADS = ['question', ...CONTENDERS.map((who) => NAME_OF[who]), 'ratio', 'target now', 'met']

/** The rows as a Markdown table, aligned to be read in a terminal too. */
export function tableOf(rows: readonly Row[]): string {
  const lines = [HEADS, ...rows.map(cellsOf)]
  const widths = HEADS.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  const text = lines.map((line) => `| ${line.map((cell, at) => pad(cell, widths[at] ?? 0, at === 0)).join(' | ')} |`)
  text.splice(1, 0, `|${widths.map((width, at) => `${'-'.repeat(width + 1)}${at === 0 ? '-' : ':'}`).join('|')}|`)
  return text.join('\n')
}

function cellsOf(row: Row): string[] {
  const met = isMet(row)
  return [
    row.what,
    ...CONTENDERS.map((who) => numberText(row.figures[who])),
    ratioText(row),
    row.target === undefined ? '' : targetText(row.target, row),
    met === undefined ? '' : met ? 'yes' : 'NO',
  ]
}

function ratioText({ figures, ratioTo, target }: Row): string {
  const to: Who | undefined = target?.of ?? ratioTo
  const [ours, theirs] = [figures.millpond, to && figures[to]]
  if (to === undefined || ours === undefined || !theirs) return ''
  return `${numberText(ours / theirs)} × ${NAME_OF[to]}`
}

function targetText(target: Target, row: Row): string {
  const bound = boundOf(target, row.figures)
  const sign = 'atMost' in target ? '≤' : '≥'
  const factor = 'atMost' in target ? target.atMost : target.atLeast
  return target.of === undefined || Number.isNaN(bound)
    ? `${sign} ${factor}`
    : `${sign} ${factor} × (${numberText(bound)})`
}

/** Three digits that mean something. */
function numberText(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return ''
  if (value === 0 || Number.isInteger(value)) return `${value}`
  if (Math.abs(value) >= 100) return value.toFixed(0)
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(value >= 1 ? 2 : 3)
}

const pad = (text: string, width: number, isLeft: boolean): string =>
  isLeft ? text.padEnd(width) : text.padStart(width)
