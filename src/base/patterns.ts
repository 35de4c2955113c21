import picomatch from 'picomatch'

/** Whether a repository's path is one that `patterns` name; those of the configuration mean the same everywhere. */
export function matcherOf(patterns: readonly string[]): (path: string) => boolean {
  if (patterns.length === 0) return () => false
  if (patterns.includes('**')) return () => true
  return picomatch([...patterns])
}
