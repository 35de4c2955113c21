import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadConfig, parseConfig } from '../../src/base/config-load.ts'
import { ConfigError } from '../../src/base/config-trouble.ts'
import { upstreamsOf } from '../../src/base/config-upstreams.ts'
import { WELL_KNOWN } from '../../src/base/well-known.ts'
import { TEST_TLS } from '../support/tls.ts'

type Given = { readonly environment?: Record<string, string>; readonly flags?: Record<string, string> }

const read = (text: string, { environment = {}, flags = {} }: Given = {}) =>
  parseConfig({ file: { name: 'millpond.yaml', text }, environment, flags: new Map(Object.entries(flags)) })

function troubleOf(act: () => unknown): readonly string[] {
  try {
    act()
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('without a file', () => {
  test('everything has its default', () => {
    const { config } = loadConfig(undefined, new Map(), {})

    expect(config).toMatchObject({
      listen: { host: '0.0.0.0', port: 5000 },
      admin: { listen: { host: '127.0.0.1', port: 5001 } },
      disk: { folder: './data', cap: { ofVolume: 0.8 } },
      wellKnown: true,
    })
  })

  test('Docker Hub is the default upstream, and the well-known registries are served', () => {
    const upstreams = upstreamsOf(loadConfig(undefined, new Map(), {}).config)

    expect([...upstreams.keys()]).toEqual([...WELL_KNOWN])
    expect([...upstreams].filter(([, { default: isDefault }]) => isDefault).map(([name]) => name)).toEqual([
      'docker.io',
    ])
    expect(upstreams.get('docker.io')?.endpoints).toEqual(['https://registry-1.docker.io'])
    expect(upstreams.get('ghcr.io')?.endpoints).toEqual(['https://ghcr.io'])
  })
})

test('a flag beats a variable, and a variable beats the file', () => {
  const text = 'listen: :1\ndisk: { cap: 1GiB, folder: /a }\nadmin: { listen: :11 }\n'
  const environment = { MILLPOND_DISK_CAP: '2GiB', MILLPOND_ADMIN_LISTEN: 'off', MILLPOND_WELL_KNOWN: 'false' }
  const more = { MILLPOND_UPSTREAMS: '{quay.io: {pin: [team/**]}}' }

  const { config } = read(text, { environment: { ...environment, ...more }, flags: { '--disk-cap': '3GiB' } })

  expect(config.disk).toMatchObject({ folder: '/a', cap: { bytes: 3 * 1024 ** 3 } })
  expect(config.admin.listen).toBe('off')
  expect(config.listen.port).toBe(1)
  expect(config.wellKnown).toBe(false)
  expect(config.upstreams['quay.io']?.pin).toEqual(['team/**'])
})

test('what was read can not be changed, at any depth', () => {
  const { config } = read('upstreams: { quay.io: { tags: [{ fresh: 0s }] } }')

  expect(Reflect.set(config.disk, 'folder', '/b')).toBe(false)
  expect(Object.isFrozen(config.upstreams['quay.io']?.tags[0])).toBe(true)
  expect(config.upstreams['quay.io']?.tags[0]?.fresh).toBe(0)
})

/** `wanted` is what the refusal must say, place first. */
const REFUSED: readonly (readonly [why: string, yaml: string, wanted: string])[] = [
  ['a key that is near another', 'wellKnwn: true', 'millpond.yaml:1: wellKnwn is not known: did you mean wellKnown?'],
  ['a key like no other', 'disk:\n  zzz: 1', 'millpond.yaml:2: disk.zzz is not known: known here are folder, cap'],
  ['a key that comes later', 'bucket: { name: b }', 'millpond.yaml:1: bucket is not known'],
  ['a deep key', 'upstreams:\n  a.io:\n    tags:\n      - frsh: 5m', ':4: upstreams.a.io.tags[0].frsh is not known'],
  ['a cap of nothing', 'disk: { cap: 0 }', ':1: disk.cap is 0: a size such as'],
  ['a cap beyond the volume', 'disk:\n  cap: 101%', ':2: disk.cap is "101%": a size such as'],
  ['a port too high', 'listen: :65536', ':1: listen is ":65536": an address and a port'],
  ['a listener without a port', 'listen: localhost', 'an address and a port'],
  ['a duration without a unit', 'upstreams: { a.io: { timeouts: { idle: 30 } } }', '.timeouts.idle is 30: a duration'],
  ['a timeout of nothing', 'upstreams: { a.io: { timeouts: { idle: 0s } } }', 'a duration longer than 0s'],
  ['a word that is none of those', 'upstreams: { a.io: { tags: [{ gone: keep }] } }', 'one of refuse, serve is wanted'],
  ['a truth that is a text', 'wellKnown: "yes"', 'wellKnown is "yes": true or false is wanted'],
  ['a key with no value', 'upstreams:\n  a.io:\n    allow:\n', ':3: upstreams.a.io.allow has no value'],
  ['a list that is a text', 'upstreams: { a.io: { deny: team } }', '.deny is "team": a list is wanted'],
  ['an empty list of endpoints', 'upstreams: { a.io: { endpoints: [] } }', 'it must not be empty'],
  ['an endpoint with a path', 'upstreams: { a.io: { endpoints: [https://b.io/p] } }', 'scheme and host alone'],
  ['an endpoint of another scheme', 'upstreams: { a.io: { endpoints: [ftp://b.io] } }', 'an http:// or https:// URL'],
  ['an endpoint twice', 'upstreams: { a.io: { endpoints: [http://b, http://b] } }', 'endpoints[1] stands here twice'],
  ['a name with upper case', 'upstreams:\n  Ghcr.io: {}', ':2: upstreams.Ghcr.io is no name for an upstream'],
  ['a URL for a name', 'upstreams:\n  "https://a.io": {}', 'is no name for an upstream'],
  ['another name of Docker Hub', 'upstreams:\n  index.docker.io: {}', ':2: upstreams.index.docker.io is another name'],
  [
    'two defaults',
    'upstreams:\n  a.io: { default: true }\n  b.io: { default: true }',
    ':3: upstreams.b.io.default is true',
  ],
  [
    'a Host of two upstreams',
    'upstreams:\n  a.io: { hosts: [x.y] }\n  b.io: { hosts: [x.y] }',
    ':3: upstreams.b.io.hosts[0]',
  ],
  ['a pattern that is a URL', 'upstreams: { a.io: { allow: ["a b"] } }', 'a pattern such as library/alpine'],
  ['a pin of two tags', 'upstreams: { a.io: { pin: ["a:b:c"] } }', 'a repository or repository:tag pattern'],
  ['an account without a password', 'upstreams: { a.io: { accounts: [{ username: u }] } }', 'lacks one of password'],
  ['an account without a name', 'upstreams: { a.io: { accounts: [{ password: p }] } }', 'accounts[0].username'],
  ['nothing to serve', 'wellKnown: false', 'wellKnown is false and upstreams is empty'],
  ['one port for both listeners', 'listen: :5001', 'admin.listen has the port of listen'],
  ['a mode of access that is none', 'access: { mode: ldap }', 'one of open, htpasswd, mtls is wanted'],
  ['htpasswd without a file', 'access: { mode: htpasswd }', ':1: access has mode htpasswd and lacks access.htpasswd'],
  ['mtls without authorities', 'access: { mode: mtls }', ':1: access has mode mtls and lacks access.ca'],
  ['mtls without TLS', 'access: { mode: mtls, ca: x }', ':1: access has mode mtls and there is no tls'],
  [
    'a file of passwords that nobody asks for',
    'access: { htpasswd: x }',
    ':1: access.htpasswd is given, but access.mode',
  ],
  [
    'a push beside what is private',
    'upstreams:\n  a.io:\n    push: true\n    private: [team/**]',
    ':3: upstreams.a.io.push is true where private has patterns',
  ],
  [
    'a private pattern in upper case',
    'upstreams:\n  a.io:\n    private: [Team/**]',
    ':3: upstreams.a.io.private[0] is Team/**, which matches no repository: names are in lower case',
  ],
  [
    'a private pattern that ends in a slash',
    'upstreams:\n  a.io:\n    private: [open/*, team/]',
    ':3: upstreams.a.io.private[1] is team/, which matches no repository: names have no empty part',
  ],
  [
    'a private pattern with the registry in it',
    'upstreams:\n  a.io:\n    private: [a.io/team/**]',
    ':3: upstreams.a.io.private[0] is a.io/team/**, which matches no repository: names are without their registry',
  ],
  [
    'a private pattern for a tag',
    'upstreams:\n  a.io:\n    private: ["team/app:v1"]',
    ':3: upstreams.a.io.private[0] is team/app:v1, which matches no repository: names have no colon',
  ],
  [
    'a denied name of one part at Docker Hub',
    'upstreams:\n  docker.io:\n    deny: [alpine]',
    ':3: upstreams.docker.io.deny[0] is alpine, which matches no repository: names at docker.io have two parts',
  ],
  [
    'what is private beside our own passwords',
    'access: { mode: htpasswd, htpasswd: x }\nupstreams:\n  a.io:\n    private: [team/**]',
    ':4: upstreams.a.io.private has patterns and access.mode is htpasswd',
  ],
  [
    'a push beside our own passwords',
    'access: { mode: htpasswd, htpasswd: x }\nupstreams:\n  a.io:\n    push: true',
    ':4: upstreams.a.io.push is true and access.mode is htpasswd',
  ],
  [
    'a push beside private repositories of another',
    'upstreams:\n  a.io: { private: [a/*] }\n  b.io: { push: true }',
    ':3: upstreams.b.io.push is true and a.io has private repositories',
  ],
  ['a public URL with a path', 'publicUrl: https://a.io/p', 'an http:// or https:// URL of scheme and host alone'],
  ['a public URL with credentials', 'publicUrl: https://u:canary@a.io', 'URL of scheme and host alone'],
  ['a key that stands twice', 'wellKnown: true\nwellKnown: false', 'millpond.yaml:2: Map keys must be unique'],
  ['a tag that YAML does not know', 'listen: !env X', 'millpond.yaml:1: Unresolved tag'],
  ['no YAML', 'a: [', 'millpond.yaml:'],
  ['no map', '- a', 'millpond.yaml:1: a map of keys is wanted'],
]

for (const [why, yaml, wanted] of REFUSED) {
  test(`${why} is refused with its place and what is wanted`, () => {
    expect(troubleOf(() => read(yaml)).join('\n')).toContain(wanted)
  })
}

test('every problem is told at once', () => {
  expect(troubleOf(() => read('listen: x\ndisk: { cap: y, foldr: z }'))).toHaveLength(3)
})

test('a wrong value is told with the variable or flag that gave it', () => {
  expect(troubleOf(() => read('', { environment: { MILLPOND_DISK_CAP: 'x' } }))[0]).toMatch(
    /^MILLPOND_DISK_CAP: disk.cap/,
  )
  expect(troubleOf(() => read('', { flags: { '--listen': 'x' } }))[0]).toMatch(/^--listen: listen is "x"/)
  expect(troubleOf(() => read('', { environment: { MILLPOND_UPSTREAMS: '{a' } }))[0]).toMatch(/^MILLPOND_UPSTREAMS: /)
})

test('a variable that is not known is told, and what Kubernetes sets for a Service is none of ours', () => {
  const environment = { MILLPOND_LISTN: ':1', MILLPOND_PORT: 'tcp://1.2.3.4:5', MILLPOND_SERVICE_HOST: '1.2.3.4' }

  expect(read('', { environment }).warnings).toEqual([
    'the variable MILLPOND_LISTN is not known: did you mean MILLPOND_LISTEN?',
  ])
})

test('a file that is not there is told in a sentence', () => {
  expect(troubleOf(() => loadConfig('/nowhere/millpond.yaml', new Map(), {}))).toEqual([
    "/nowhere/millpond.yaml can't be read: no such file",
  ])
})

test('PEM files that are not there, hold no certificate or another key are refused with the place', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-config-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' })
  const files = { 'a.crt': TEST_TLS.cert, 'a.key': TEST_TLS.key, 'b.key': other, 'garbage.crt': 'garbage\n' }
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const tlsOf = (cert: string, key: string) => `tls:\n  cert: ${folder}/${cert}\n  key: ${folder}/${key}\n`
  const caOf = (name: string) => `upstreams:\n  a.io:\n    connect: { ca: ${folder}/${name} }\n`

  const told = [
    ...[tlsOf('a.crt', 'a.key'), tlsOf('none', 'a.key'), tlsOf('garbage.crt', 'a.key'), tlsOf('a.crt', 'b.key')],
    ...[caOf('a.crt'), caOf('none'), caOf('garbage.crt'), caOf('a.key')],
  ].map((text) =>
    troubleOf(() => read(text))
      .join('\n')
      .replaceAll(folder, ''),
  )

  expect(told).toEqual([
    '',
    "millpond.yaml:2: tls.cert is /none, which can't be read: no such file",
    'millpond.yaml:2: tls.cert is /garbage.crt: a file of certificates in PEM is wanted',
    "millpond.yaml:3: tls.key is /b.key: the PEM of tls.cert's own key is wanted",
    '',
    "millpond.yaml:3: upstreams.a.io.connect.ca is /none, which can't be read: no such file",
    'millpond.yaml:3: upstreams.a.io.connect.ca is /garbage.crt: a file of certificates in PEM is wanted',
    'millpond.yaml:3: upstreams.a.io.connect.ca is /a.key: a file of certificates in PEM is wanted',
  ])
})

test('files of access that are not there, or hold what is not meant, are refused with the place and the line', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-config-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const bcrypt = `$2y$10$${'a'.repeat(53)}`
  const files = { 'a.crt': TEST_TLS.cert, 'a.key': TEST_TLS.key, good: `a:${bcrypt}\n`, bad: `a:${bcrypt}\nb:canary\n` }
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const byName = (name: string) => `access:\n  mode: htpasswd\n  htpasswd: ${folder}/${name}\n`
  const tls = `tls: { cert: ${folder}/a.crt, key: ${folder}/a.key }\n`
  const byCertificate = (name: string) => `${tls}access: { mode: mtls, ca: ${folder}/${name} }\n`

  const told = [byName('good'), byName('none'), byName('bad'), byCertificate('a.crt'), byCertificate('a.key')].map(
    (text) =>
      troubleOf(() => read(text))
        .join('\n')
        .replaceAll(folder, ''),
  )

  expect(told).toEqual([
    '',
    "millpond.yaml:3: access.htpasswd is /none, which can't be read: no such file",
    'millpond.yaml:3: access.htpasswd is /bad: line 2: its hash is not bcrypt: make it anew with htpasswd -B',
    '',
    'millpond.yaml:2: access.ca is /a.key: a file of certificates in PEM is wanted',
  ])
})

describe('passwords', () => {
  const accountOf = (account: string) => `upstreams:\n  a.io:\n    accounts:\n      - ${account}\n`
  const found = (loaded: ReturnType<typeof read>) => loaded.config.upstreams['a.io']?.accounts[0]?.password?.reveal()

  test('come from the file itself, from a file of their own, or from a variable', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millpond-config-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, 'hub'), 'from-file\n')
    const environment = { HUB: 'from-variable' }

    expect(found(read(accountOf('{ username: u, password: inline }')))).toBe('inline')
    expect(found(read(accountOf(`{ username: u, passwordFile: ${folder}/hub }`)))).toBe('from-file')
    expect(found(read(accountOf('{ username: u, passwordEnv: HUB }'), { environment }))).toBe('from-variable')
  })

  test('that are not where they should be are refused, with the place', () => {
    expect(troubleOf(() => read(accountOf('{ username: u, passwordFile: /nowhere }')))[0]).toMatch(
      /^millpond\.yaml:4: upstreams\.a\.io\.accounts\[0\] has passwordFile \/nowhere, which can't be read: no such file/,
    )
    expect(troubleOf(() => read(accountOf('{ username: u, passwordEnv: HUB }')))[0]).toContain('no such variable')
    expect(troubleOf(() => read(accountOf('{ username: u, password: p, passwordEnv: HUB }')))[0]).toContain(
      'one of them',
    )
  })

  test('fault 80: are printed by nothing', () => {
    const { config } = read(accountOf('{ username: u, password: canary }'))

    expect(JSON.stringify(config)).not.toContain('canary')
    expect(inspect(config, { depth: 9 })).not.toContain('canary')
    expect(`${config.upstreams['a.io']?.accounts[0]?.password}`).toBe('***')
  })

  for (const yaml of [
    accountOf('{ username: u, password: [canary] }'),
    accountOf('{ username: u, password: { canary: canary } }'),
    accountOf('{ username: u, pasword: canary }'),
    accountOf('{ username: u, password: "canary }'),
    accountOf('{ username: u, password: "canary" canary }'),
    accountOf('{ username: u, password: *canary }'),
    'upstreams: { a.io: { endpoints: ["https://u:canary@b.io"] } }',
    'upstreams: { a.io: { endpoints: ["https://b.io?sig=canary"] } }',
  ]) {
    test(`fault 80: are in no refusal: ${yaml.trim().split('\n').at(-1)?.trim()}`, () => {
      const told = troubleOf(() => read(yaml))

      expect(told.length).toBeGreaterThan(0)
      expect(told.join('\n')).not.toContain('canary')
    })
  }
})
