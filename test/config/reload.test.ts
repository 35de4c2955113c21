import { expect, test } from 'vitest'
import { type Config, configSchema, Secret } from '../../src/base/config.ts'
import { reloadedOf } from '../../src/base/config-reload.ts'

const configOf = (given: object): Config => configSchema.parse(given)
const hub = (more: object) => ({ upstreams: { 'docker.io': { accounts: [], ...more } } })

for (const [before, after, waiting, why] of [
  [{}, {}, [], 'nothing changed'],
  [{ disk: { cap: '2GiB' } }, { disk: { cap: '1GiB' } }, [], 'a cap is taken over'],
  [{ disk: { cap: '2GiB' } }, { disk: { cap: '50%' } }, [], 'so is one of another kind'],
  [{ log: { level: 'info' } }, { log: { level: 'debug' } }, [], 'so is the level'],
  [{ log: { format: 'json' } }, { log: { format: 'pretty' } }, ['log.format'], 'the format is not'],
  [{ listen: ':5000' }, { listen: ':5002' }, ['listen.port'], 'nor where it listens'],
  [{ disk: { folder: 'a' } }, { disk: { folder: 'b' } }, ['disk.folder'], 'nor the folder'],
  [{}, { tls: { cert: 'a', key: 'b' } }, ['tls'], 'nor whether there is TLS'],
  [{ tls: { cert: 'a', key: 'b' } }, { tls: { cert: 'c', key: 'd' } }, [], 'but its files are'],
  [hub({}), hub({ deny: ['x/**'], pin: ['y'], allow: ['z'], tags: [{ fresh: '1s' }] }), [], 'rules are taken over'],
  [{}, { upstreams: { 'ghcr.io': { deny: ['x/**'] } } }, [], 'also of a well-known upstream that was not configured'],
  [{}, { upstreams: { 'new.example': {} } }, ['upstreams.new.example'], 'an upstream that is new waits'],
  [hub({}), hub({ endpoints: ['https://mirror.example'] }), ['upstreams.docker.io.endpoints'], 'and endpoints'],
  [
    hub({}),
    hub({ timeouts: { idle: '9s' }, push: true }),
    ['upstreams.docker.io.push', 'upstreams.docker.io.timeouts.idle'],
    'each key is told',
  ],
] as const) {
  test(`read again: ${why}`, () => {
    const told = reloadedOf(configOf(before), configOf(after)).waiting

    expect(told.toSorted()).toEqual(waiting)
  })
}

test('what was taken over runs, and what waits is as it was, also the next time', () => {
  const running = configOf({ listen: ':5000', disk: { cap: '2GiB', folder: 'a' } })
  const wanted = configOf({ listen: ':5002', disk: { cap: '1GiB', folder: 'b' }, ...hub({ deny: ['x'] }) })

  const { config, waiting } = reloadedOf(running, wanted)

  expect(config).toMatchObject({ listen: running.listen, disk: { cap: { bytes: 2 ** 30 }, folder: 'a' } })
  expect(config.upstreams['docker.io']?.deny).toEqual(['x'])
  expect(reloadedOf(config, wanted)).toEqual({ config, waiting })
})

test('another password is a change, though none is ever told; one in a file is read where it is used', () => {
  const account = (password: string, more = {}) => {
    const config = configOf(hub({ accounts: [{ username: 'u', password, ...more }] }))
    return config
  }
  const inFile = (text: string): Config => {
    const config = configOf(hub({ accounts: [{ username: 'u', passwordFile: '/run/secret' }] }))
    const upstreams = Object.entries(config.upstreams).map(([name, upstream]) => {
      const accounts = upstream.accounts.map((each) => ({ ...each, password: new Secret(text) }))
      return [name, { ...upstream, accounts }]
    })
    return { ...config, upstreams: Object.fromEntries(upstreams) }
  }

  expect(reloadedOf(account('one'), account('two')).waiting).toHaveLength(1)
  expect(reloadedOf(account('one'), account('one')).waiting).toEqual([])
  expect(reloadedOf(inFile('one'), inFile('two')).waiting).toEqual([])
})
