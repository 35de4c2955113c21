import { hostname } from 'node:os'
import { expect, test } from 'vitest'
import { configSchema } from '../../src/base/config.ts'
import { banner } from '../../src/cli/banner.ts'
import type { ServerFacts } from '../../src/server.ts'

const FACTS: ServerFacts = {
  listen: { host: '0.0.0.0', port: 5000 },
  isTls: false,
  admin: { host: '127.0.0.1', port: 5001 },
  folder: '/var/lib/millpond',
  capBytes: 200 * 1024 ** 3,
  usedBytes: 1.5 * 1024 ** 3,
  upstreams: ['docker.io', 'ghcr.io'],
  startMs: 350,
}

test('it says where it listens, where it keeps things, how large that may grow, and how to point dockerd at it', () => {
  const lines = banner(configSchema.parse({}), FACTS).split('\n')

  expect(lines).toEqual([
    expect.stringMatching(/^Millpond \d+\.\d+\.\d+, started in 350ms$/),
    '  serves   http://0.0.0.0:5000',
    '  keeps    /var/lib/millpond, at most 200 GiB (80 % of the volume); now 1.5 GiB',
    '  from     docker.io, ghcr.io',
    '  health   http://127.0.0.1:5001/readyz, numbers at /metrics',
    '  access   open: whoever reaches this port is served',
    '  dockerd  put this into /etc/docker/daemon.json: {"registry-mirrors": ["http://127.0.0.1:5000"]}',
    '',
  ])
})

test('over TLS a daemon needs the name that the certificate has: this host is the best guess', () => {
  const told = banner(configSchema.parse({}), { ...FACTS, isTls: true })

  expect(told).toContain(`{"registry-mirrors": ["https://${hostname()}:5000"]}`)
})

test('an IPv6 address stands in brackets, a cap in bytes alone, and no admin listener is not told', () => {
  const told = banner(configSchema.parse({ disk: { cap: '200GiB' } }), {
    ...FACTS,
    listen: { host: '::1', port: 5000 },
    admin: undefined,
  })

  expect(told).toContain('["http://[::1]:5000"]')
  expect(told).toContain('at most 200 GiB; now')
  expect(told).not.toContain('health')
})

test('an account shares what it may read: said, and its password not', () => {
  const account = { username: 'bot', password: 'canary', repositories: ['team/**', 'library/*'] }
  const told = banner(configSchema.parse({ upstreams: { 'docker.io': { accounts: [account] } } }), FACTS)

  expect(told).toContain('bot at docker.io: whoever reaches Millpond may read team/**, library/* there as it does')
  expect(told).not.toContain('canary')
})

for (const [access, wanted] of [
  [{ mode: 'htpasswd', htpasswd: '/etc/users' }, 'a name and a password of /etc/users, for every request'],
  [{ mode: 'mtls', ca: '/etc/ca.crt' }, 'a client certificate of an authority in /etc/ca.crt, for every request'],
] as const) {
  test(`it says what access.mode ${access.mode} asks for, and that an account serves those alone who are let in`, () => {
    const account = { username: 'bot', password: 'p' }
    const told = banner(configSchema.parse({ access, upstreams: { 'quay.io': { accounts: [account] } } }), FACTS)

    expect(told).toContain(`  access   ${wanted}\n`)
    expect(told).toContain('bot at quay.io: whoever is let in may read **')
    expect(told.includes('docker login http://127.0.0.1:5000')).toBe(access.mode === 'htpasswd')
  })
}

test('it says what is private, and how to sign in for it, where dockerd is given no mirror', () => {
  const upstreams = { 'quay.io': { private: ['team/**', 'x'] } }
  const told = banner(configSchema.parse({ upstreams }), FACTS)
  const behind = banner(configSchema.parse({ upstreams, publicUrl: 'https://cache.example' }), FACTS)

  expect(told).toContain('  private  team/**, x at quay.io: only to those whose own credentials upstream accepts\n')
  expect(told).toContain('  docker   docker login http://127.0.0.1:5000\n')
  expect(told).not.toContain('registry-mirrors')
  expect(behind).toContain('docker login https://cache.example\n')
})
