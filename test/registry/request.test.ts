import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OciError } from '../../src/base/errors.ts'
import type { RegistryHost } from '../../src/oci/names.ts'
import { Registries, type Rules } from '../../src/registry/registries.ts'
import { parseRequest } from '../../src/registry/request.ts'

const rules: Rules = { default: false, hosts: [], allow: ['**'], deny: [], private: [], push: false }
const hostOf = (text: string): RegistryHost => text as RegistryHost
const registries = new Registries([
  [hostOf('docker.io'), { ...rules, hosts: ['hub.mirror.example'] }],
  [hostOf('ghcr.io'), rules],
  [hostOf('registry.example:5443'), rules],
  [hostOf('ruled.example'), { ...rules, allow: ['team/**', 'open'], deny: ['team/secret'] }],
])
const hex = 'b'.repeat(64)

/** What a request means, in one line; or the error's reason. */
function meaningOf(url: string, host?: string, among = registries): string {
  try {
    const asked = parseRequest(url, host, among)
    if (!('target' in asked)) return asked.route
    const { repository } = asked.target
    return `${asked.route} ${repository.host} ${repository.path}`
  } catch (error) {
    if (error instanceof OciError) return error.reason
    throw error
  }
}

for (const [url, host, want, why] of [
  ['/v2/', undefined, 'ping', 'the check for a registry'],
  ['/v2', undefined, 'ping', 'without its slash'],
  ['/docker.io/v2/', undefined, 'ping', 'dockerd with a mirror path'],
  ['/v2/_catalog', undefined, 'catalog', ''],
  ['/v2/ghcr.io/_catalog', undefined, 'catalog', ''],
  ['/v2/alpine/manifests/3', undefined, 'manifest docker.io library/alpine', 'the default; a short name'],
  ['/v2/library/alpine/manifests/3', undefined, 'manifest docker.io library/alpine', 'a full name'],
  ['/v2/a/b/c/manifests/x', undefined, 'manifest docker.io a/b/c', ''],
  [`/v2/alpine/blobs/sha256:${hex}`, undefined, 'blob docker.io library/alpine', ''],
  [`/v2/alpine/blobs/sha256%3A${hex}`, undefined, 'blob docker.io library/alpine', 'a colon may come encoded'],
  [`/v2/alpine/manifests/sha256%3a${hex}`, undefined, 'manifest docker.io library/alpine', ''],
  ['/v2/%61lpine/manifests/%33', undefined, 'manifest docker.io library/alpine', 'decoded once'],
  ['/v2/alpine/tags/list?n=3', undefined, 'tags docker.io library/alpine', ''],
  [`/v2/alpine/referrers/sha256:${hex}`, undefined, 'referrers docker.io library/alpine', ''],
  ['/v2/alpine/blobs/uploads/', undefined, 'upload docker.io library/alpine', 'to begin one'],
  ['/v2/alpine/blobs/uploads', undefined, 'upload docker.io library/alpine', 'without the slash'],
  ['/v2/alpine/blobs/uploads/4-u_u.id==', undefined, 'upload docker.io library/alpine', 'to go on with one'],
  ['/v2/manifests/manifests/manifests', undefined, 'manifest docker.io library/manifests', 'parsed from the right'],
  ['/v2/a/manifests/blobs/tags/list', undefined, 'tags docker.io a/manifests/blobs', 'parsed from the right'],
  ['/v2/a/blobs/uploads/manifests/x', undefined, 'manifest docker.io a/blobs/uploads', 'parsed from the right'],
  // ns
  ['/v2/x/y/manifests/1?ns=ghcr.io', undefined, 'manifest ghcr.io x/y', 'ns names the upstream'],
  ['/v2/x/manifests/1?ns=ghcr.io', undefined, 'manifest ghcr.io x', "short names are Docker Hub's alone"],
  ['/v2/x/manifests/1?ns=docker.io', 'ghcr.io', 'manifest docker.io library/x', 'ns wins over Host'],
  ['/v2/x/manifests/1?ns=registry.example%3A5443', undefined, 'manifest registry.example:5443 x', 'a port, encoded'],
  ['/v2/x/manifests/1?ns=registry.example:5443', undefined, 'manifest registry.example:5443 x', 'a port, plain'],
  ['/v2/x/manifests/1?ns=GHCR.io', undefined, 'manifest ghcr.io x', 'hosts ignore case'],
  ['/v2/x/manifests/1?ns=registry-1.docker.io', undefined, 'manifest docker.io library/x', "Hub's other name"],
  ['/v2/x/manifests/1?ns=index.docker.io', undefined, 'manifest docker.io library/x', 'and its third'],
  ['/v2/x/manifests/1?ns=stranger.example', undefined, 'nameUnknown', 'fault 83'],
  ['/v2/x/manifests/1?ns=169.254.169.254', undefined, 'nameUnknown', 'fault 83'],
  ['/v2/x/manifests/1?ns=http://ghcr.io', undefined, 'nameInvalid', 'a URL is no host'],
  ['/v2/x/manifests/1?ns=', undefined, 'nameInvalid', 'nor is nothing'],
  ['/v2/?ns=stranger.example', undefined, 'nameUnknown', 'on each route'],
  // ns together with a prefix
  ['/v2/ghcr.io/x/manifests/1?ns=ghcr.io', undefined, 'manifest ghcr.io x', 'override_path'],
  ['/v2/ghcr.io/v2/x/manifests/1?ns=ghcr.io', undefined, 'manifest ghcr.io x', 'the mistake without it'],
  [
    '/v2/registry.example:5443/x/manifests/1?ns=registry.example%3A5443',
    undefined,
    'manifest registry.example:5443 x',
    '',
  ],
  ['/ghcr.io/v2/x/manifests/1?ns=ghcr.io', undefined, 'manifest ghcr.io x', 'a path without /v2'],
  ['/docker.io/v2/x/manifests/1?ns=docker.io', undefined, 'manifest docker.io library/x', ''],
  ['/v2/docker.io/v2/x/manifests/1?ns=docker.io', undefined, 'manifest docker.io library/x', ''],
  [
    '/v2/docker.io/x/manifests/1?ns=registry-1.docker.io',
    undefined,
    'manifest docker.io library/x',
    'any of its names',
  ],
  ['/v2/ghcr.io/ghcr.io/x/manifests/1?ns=ghcr.io', undefined, 'manifest ghcr.io ghcr.io/x', 'stripped once'],
  ['/v2/ghcr.io/x/manifests/1?ns=docker.io', undefined, 'nameUnknown', 'no name at Hub has a dot in front'],
  [
    '/v2/ghcr.io/x/manifests/1?ns=registry.example:5443',
    undefined,
    'manifest registry.example:5443 ghcr.io/x',
    'a mirror',
  ],
  ['/v2/ghcr.io/manifests/1?ns=ghcr.io', undefined, 'manifest ghcr.io ghcr.io', 'a name is left'],
  ['/v2/ghcr.io/v2/manifests/1?ns=ghcr.io', undefined, 'manifest ghcr.io v2', 'a name is left'],
  // prefixes
  ['/v2/ghcr.io/x/y/manifests/1', undefined, 'manifest ghcr.io x/y', 'podman'],
  ['/ghcr.io/v2/x/y/manifests/1', undefined, 'manifest ghcr.io x/y', 'dockerd with a path'],
  ['/v2/docker.io/x/manifests/1', undefined, 'manifest docker.io library/x', 'a short name'],
  ['/v2/docker.io/library/x/manifests/1', undefined, 'manifest docker.io library/x', ''],
  ['/v2/registry-1.docker.io/x/manifests/1', undefined, 'manifest docker.io library/x', ''],
  ['/v2/ghcr.io/x/manifests/1', 'hub.mirror.example', 'manifest ghcr.io x', 'a prefix wins over Host'],
  ['/v2/ghcr.io/v2/x/manifests/1', undefined, 'manifest ghcr.io v2/x', 'v2 may be part of a name'],
  ['/v2/stranger.example/x/manifests/1', undefined, 'nameUnknown', 'a host that we do not know'],
  ['/stranger.example/v2/x/manifests/1', undefined, 'nameUnknown', 'a host that we do not know'],
  ['/v2/registry.example:5443/x/manifests/1', undefined, 'manifest registry.example:5443 x', 'a port that we know'],
  ['/v2/localhost:5000/x/manifests/1', undefined, 'nameInvalid', 'no name has a colon'],
  // Host
  ['/v2/x/manifests/1', 'ghcr.io', 'manifest ghcr.io x', 'Host names an upstream'],
  ['/v2/x/manifests/1', 'GHCR.io:5000', 'manifest ghcr.io x', 'with our port'],
  ['/v2/x/manifests/1', 'registry.example:5443', 'manifest registry.example:5443 x', 'with its port'],
  ['/v2/x/manifests/1', 'hub.mirror.example:5000', 'manifest docker.io library/x', 'one of its hosts'],
  ['/v2/x/manifests/1', 'localhost:5000', 'manifest docker.io library/x', 'else the default'],
  // rules
  ['/v2/ruled.example/team/app/manifests/1', undefined, 'manifest ruled.example team/app', 'allowed'],
  [`/v2/ruled.example/open/blobs/sha256:${hex}`, undefined, 'blob ruled.example open', 'allowed by name'],
  ['/v2/ruled.example/team/secret/manifests/1', undefined, 'nameUnknown', 'denied'],
  [`/v2/ruled.example/team/secret/blobs/sha256:${hex}`, undefined, 'nameUnknown', 'for blobs alike'],
  ['/v2/ruled.example/other/tags/list', undefined, 'nameUnknown', 'not allowed'],
  // elsewhere
  ['/', undefined, 'notServed', ''],
  ['/favicon.ico', undefined, 'notServed', ''],
  ['/v1/_ping', undefined, 'notServed', 'no schema 1 API'],
  ['/v2/alpine', undefined, 'notServed', ''],
  ['/v2/alpine/tags/all', undefined, 'notServed', ''],
  ['http://ghcr.io/v2/x/manifests/1', undefined, 'requestInvalid', 'fault 67: absolute form'],
  ['*', undefined, 'requestInvalid', 'asterisk form'],
] as const) {
  test(`${url} with Host ${host} means ${want}: ${why}`, () => {
    expect(meaningOf(url, host)).toBe(want)
  })
}

const HOSTILE = [
  '..',
  '.',
  '%2e%2e',
  '%2E.',
  '%2F',
  'a%2Fb',
  '%00',
  'a%00',
  'a%0d%0aX',
  '\\',
  '..\\a',
  '%5c',
  '',
  '%',
  '%zz',
]
const MORE_HOSTILE = [
  '%c0%ae%c0%ae',
  '%252e%252e',
  'UPPER',
  'a b',
  '%20',
  'a;b',
  'é',
  '-a',
  'a-',
  'a..b',
  '_a',
  'a'.repeat(256),
]

for (const part of [...HOSTILE, ...MORE_HOSTILE]) {
  for (const end of ['manifests/1', `blobs/sha256:${hex}`, 'tags/list', `referrers/sha256:${hex}`, 'blobs/uploads/']) {
    for (const name of [part, `a/${part}`, `${part}/a`, `ghcr.io/${part}`, `ghcr.io/a/${part}/b`]) {
      test(`fault 57: /v2/${name}/${end} is refused`, () => {
        expect(meaningOf(`/v2/${name}/${end}`)).toBe('nameInvalid')
      })
    }
  }

  test(`fault 57: "${part}" is no digest, no upload and no host before /v2/`, () => {
    expect(meaningOf(`/v2/a/blobs/${part}`)).toMatch(/^(digestInvalid|nameInvalid)$/)
    expect(meaningOf(`/v2/a/referrers/${part}`)).toMatch(/^(digestInvalid|nameInvalid)$/)
    expect(meaningOf(`/${part}/v2/a/manifests/1`)).toMatch(/^name(Invalid|Unknown)$/)
  })
}

for (const part of HOSTILE.filter((each) => each !== '')) {
  test(`fault 57: "${part}" is neither a tag nor an upload`, () => {
    expect(meaningOf(`/v2/a/manifests/${part}`)).toMatch(/^(manifestUnknown|nameInvalid)$/) // no such tag can exist
    expect(meaningOf(`/v2/a/blobs/uploads/${part}`)).toBe('nameInvalid')
  })
}

for (const [digest, why] of [
  [`md5:${'a'.repeat(32)}`, 'an algorithm that is not taken'],
  [`sha384:${'a'.repeat(96)}`, 'an algorithm that is not taken'],
  [`sha256:${'A'.repeat(64)}`, 'upper case'],
  [`sha256:${'a'.repeat(63)}`, 'too short'],
  [`sha256:${'a'.repeat(65)}`, 'too long'],
  [`sha512:${'a'.repeat(64)}`, 'too short for its algorithm'],
  [`SHA256:${'a'.repeat(64)}`, 'an algorithm in upper case'],
  ['sha256:', 'nothing'],
  ['sha256:totallywrong', 'no hex'],
  [':', 'neither'],
]) {
  test(`fault 58: ${digest} is refused by each route: ${why}`, () => {
    for (const kind of ['manifests', 'blobs', 'referrers']) {
      expect(meaningOf(`/v2/a/${kind}/${digest}`)).toBe('digestInvalid')
    }
  })
}

test('fault 58: sha512 is taken', () => {
  expect(meaningOf(`/v2/a/blobs/sha512:${'a'.repeat(128)}`)).toBe('blob docker.io library/a')
})

test('names of 255 characters are taken, and no longer ones; tags of 128', () => {
  const name = `${'a'.repeat(127)}/${'b'.repeat(127)}`
  expect(meaningOf(`/v2/${name}/manifests/1`)).toBe(`manifest docker.io ${name}`)
  expect(meaningOf(`/v2/${name}b/manifests/1`)).toBe('nameInvalid')
  expect(meaningOf(`/v2/a/manifests/${'t'.repeat(128)}`)).toBe('manifest docker.io library/a')
  expect(meaningOf(`/v2/a/manifests/${'t'.repeat(129)}`)).toBe('manifestUnknown')
})

test('without an upstream that is meant by default, a request must name one', () => {
  const only = new Registries([[hostOf('ghcr.io'), rules]])
  expect(meaningOf('/v2/x/manifests/1', 'localhost:5000', only)).toBe('nameUnknown')
  expect(meaningOf('/v2/x/manifests/1?ns=ghcr.io', 'localhost:5000', only)).toBe('manifest ghcr.io x')
})

test('another upstream than Docker Hub may be the default', () => {
  const other = new Registries([
    [hostOf('docker.io'), rules],
    [hostOf('ghcr.io'), { ...rules, default: true }],
  ])
  expect(meaningOf('/v2/x/manifests/1', 'localhost', other)).toBe('manifest ghcr.io x')
  expect(meaningOf('/v2/docker.io/x/manifests/1', 'localhost', other)).toBe('manifest docker.io library/x')
})

test("the client's own path to the repository is kept as it came", () => {
  const pathOf = (url: string): string => {
    const asked = parseRequest(url, undefined, registries)
    return 'target' in asked ? asked.target.clientPath : ''
  }
  expect(pathOf('/v2/ghcr.io/%61/tags/list?n=1')).toBe('/v2/ghcr.io/%61')
  expect(pathOf('/ghcr.io/v2/a/b/tags/list')).toBe('/ghcr.io/v2/a/b')
  expect(pathOf('/v2/docker.io/v2/a/tags/list?ns=docker.io')).toBe('/v2/docker.io/v2/a')
  expect(pathOf('/v2/a/blobs/uploads/')).toBe('/v2/a')
})

test('fault 57: whatever the path, it has a meaning or is refused, and a meaning holds no part that climbs', () => {
  const part = fc.oneof(
    fc.constantFrom('v2', 'ghcr.io', 'manifests', 'blobs', 'uploads', 'tags', 'list', 'referrers', 'a', 'library'),
    fc.constantFrom(...HOSTILE, ...MORE_HOSTILE, `sha256:${hex}`),
    fc.string({ maxLength: 6 }),
  )
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), fc.option(part, { nil: undefined }), (parts, ns) => {
      const url = `/${parts.join('/')}${ns === undefined ? '' : `?ns=${ns}`}`

      const meaning = meaningOf(url, 'ghcr.io')

      expect(meaning).not.toMatch(/ .*(\.\.|\/\/|%|\\|\s$)/)
    }),
  )
})

test('fault 59: 60 KiB of hostile path take no time', () => {
  const startedMs = performance.now()
  for (const piece of ['a/', 'a', 'a-', '../', '%2f', '?ns=', 'a.', '._', ':']) {
    const long = piece.repeat(Math.floor(60_000 / piece.length))
    meaningOf(`/v2/${long}/manifests/1`, long)
    meaningOf(`/v2/a/blobs/uploads/${long}`)
    meaningOf(`/${long}!`)
    meaningOf(`/v2/a/manifests/1?ns=${long}`)
  }
  expect(performance.now() - startedMs).toBeLessThan(1_000)
})
