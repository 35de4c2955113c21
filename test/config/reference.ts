import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ConfigKey, configKeys } from '../../src/base/config-keys.ts'
import { RELOADED } from '../../src/base/config-reload.ts'
import { WELL_KNOWN } from '../../src/base/well-known.ts'
import { ROOT } from '../tidy/source.ts'

export const REFERENCE = join(ROOT, 'docs', 'configuration.md')

const OPENING = `# Configuration

Everything has a default: \`millpond serve\` alone listens on port 5000, keeps what it fetches in \`./data\` and serves Docker
Hub and the well-known public registries. What differs is said in one YAML file (\`--config FILE\`, or \`MILLPOND_CONFIG\`), in
the environment, and by flags; a flag beats a variable, a variable beats the file. All three are one schema, from which this
page is written (\`npm run docs:configuration\`).

It is read at the start. What is wrong is refused then, with its place: a key that is not known, a value that is not
allowed, two keys that contradict each other. A variable that begins with \`MILLPOND_\` and is not known is told, no more.

SIGHUP has it read again. ${RELOADED.map((key) => `\`${key}\``).join(', ')} are taken over, and the files of TLS are
read; policies hold from a tag's next check on. Any other key that has changed is told in the log and waits for a restart; a
configuration that is wrong changes nothing.

\`config/millpond.example.yaml\` shows every key in its place.

## Values

| kind | written |
|---|---|
| duration | \`250ms\`, \`5s\`, \`10m\`, \`1h30m\`, \`30d\`; \`0s\` is a value, but for timeouts |
| size | \`200GiB\`, \`1.5TB\`, \`512MiB\`, or bytes: \`214748364800\`. KiB, MiB, GiB, TiB are powers of 1024; kB, MB, GB, TB of 1000 |
| count | a whole number: \`4096\` |
| percentage | \`80%\`, of the volume that the folder is on |
| address and port | \`0.0.0.0:5000\`, \`[::]:5000\`, \`localhost:5000\`; \`:5000\` is every IPv4 address; port 0 takes a free one |
| host | as clients name a registry: lower case, with a port if it has one: \`ghcr.io\`, \`registry.local:5000\` |
| pattern | a glob over repositories: \`library/alpine\`, \`team/*\` (one part), \`team/**\` (any depth), \`**\`. Names are as upstream has them: \`library/alpine\`, not \`alpine\` |
| secret | never printed |

A list or a map in a variable is YAML: \`MILLPOND_UPSTREAMS='{quay.io: {pin: [team/**]}}'\`. It replaces what the file has there.

The way out may be a proxy: \`HTTPS_PROXY\`, \`HTTP_PROXY\` and \`NO_PROXY\` are obeyed, in upper or lower case.
`

/** The page, from the schema alone. */
export function referenceText(): string {
  const keys = configKeys()
  const own = keys.filter(({ path }) => path[0] !== 'upstreams' || path.length === 1)
  const below = keys.filter(({ path }) => path[0] === 'upstreams' && path.length > 1)
  return [
    OPENING,
    '## Keys\n',
    '| key | value | default | variable, flag | meaning |',
    '|---|---|---|---|---|',
    ...own.map((key) => row([code(pathOf(key)), kindOf(key), defaultOf(key), waysOf(key), meaningOf(key)])),
    '\n## Keys of an upstream\n',
    `Each stands below \`upstreams.<host>\`, the registry's name. Well known, unless \`wellKnown: false\`: ${wellKnownText()}.\n`,
    '| key | value | default | meaning |',
    '|---|---|---|---|',
    ...below.map((key) => row([code(pathOf(key)), kindOf(key), defaultOf(key), meaningOf(key)])),
    '',
  ].join('\n')
}

/** As the page names a key: an upstream's own without what they all begin with. */
export const pathOf = ({ path }: ConfigKey): string =>
  (path[1] === '*' ? path.slice(2) : path).join('.').replaceAll('.[]', '[]')

const code = (text: string): string => `\`${text}\``
const row = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
const kindOf = ({ kind, isRequired }: ConfigKey): string => (isRequired ? `${kind}; required` : kind)
const defaultOf = (key: ConfigKey): string => (key.default === undefined ? '' : code(key.default))
const meaningOf = ({ meaning }: ConfigKey): string => meaning

const waysOf = ({ environment, flag }: ConfigKey): string =>
  [environment, flag].flatMap((way) => (way === undefined ? [] : [code(way)])).join(', ')

const wellKnownText = (): string => WELL_KNOWN.map(code).join(', ')

if (process.argv[1] === import.meta.filename) writeFileSync(REFERENCE, referenceText())
