/** A reading of /metrics, by whole name and labels. */
export type Numbers = ReadonlyMap<string, number>

/** What must be nought when nobody asks anything. */
const AT_REST = [
  'millpond_fills_under_way',
  'millpond_fill_readers',
  'millpond_answers_under_way',
  'millpond_open_blobs',
] as const

/** @returns undefined where nobody answers; the text too, for who looks for secrets in it */
export async function readNumbers(adminOrigin: string): Promise<{ numbers: Numbers; text: string } | undefined> {
  try {
    const answer = await fetch(`${adminOrigin}/metrics`, { signal: AbortSignal.timeout(3_000) })
    const text = await answer.text()
    const rows = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    return { numbers: new Map(rows.map(numberOf)), text }
  } catch {
    return undefined // it is down, or suspended: the next reading tells
  }
}

function numberOf(line: string): [string, number] {
  const at = line.lastIndexOf(' ')
  return [line.slice(0, at), Number(line.slice(at + 1))]
}

/** What is still under way, in words; a number that is not there counts as one that is not nought. */
export const underWayIn = (numbers: Numbers): readonly string[] =>
  AT_REST.filter((name) => numbers.get(name) !== 0).map((name) => `${name} is ${numbers.get(name)}`)
