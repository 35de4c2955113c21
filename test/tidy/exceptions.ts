/** A rule that a file may break, and why it may. A line here without need fails the test as well. */
export type Exception = { readonly rule: string; readonly path: string; readonly why: string }

const EXCEPTIONS: readonly Exception[] = []

/** What is left of `found` once exceptions are taken out; what an exception names and is not found is told too. */
export function beyondExceptions(
  rule: string,
  found: readonly string[],
  exceptions: readonly Exception[] = EXCEPTIONS,
): readonly string[] {
  const ofRule = exceptions.filter((exception) => exception.rule === rule)
  const isExcused = (line: string) => ofRule.some(({ path }) => line.startsWith(`${path}:`))
  const needless = ofRule.filter(({ path }) => !found.some((line) => line.startsWith(`${path}:`)))
  return [
    ...found.filter((line) => !isExcused(line)),
    ...needless.map(({ path }) => `${path}: the exception to "${rule}" is needed no more`),
  ]
}
