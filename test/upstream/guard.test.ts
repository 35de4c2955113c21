import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isLinkLocal, reachOf } from '../../src/upstream/address.ts'
import { Guard } from '../../src/upstream/guard.ts'
import { startProxy } from '../support/proxy.ts'
import { startThief } from '../support/thief.ts'
import { startUpstream } from '../support/upstream.ts'
import { faultOf, latest, named, never, path, resolverOf, upstreamAt } from './support.ts'

for (const [address, reach, why] of [
  ['8.8.8.8', 'public', 'an address like any'],
  ['2606:4700::1', 'public', 'version 6 too'],
  ['127.0.0.1', 'loopback', 'this host'],
  ['127.255.1.2', 'loopback', 'all of its block'],
  ['::1', 'loopback', 'this host'],
  ['0.0.0.0', 'loopback', 'connecting to it leads here'],
  ['::', 'loopback', 'connecting to it leads here'],
  ['10.1.2.3', 'private', 'RFC 1918'],
  ['172.31.255.255', 'private', 'RFC 1918'],
  ['192.168.0.1', 'private', 'RFC 1918'],
  ['100.64.0.1', 'private', 'carrier-grade NAT'],
  ['fd12::1', 'private', 'ULA'],
  ['fec0::1', 'private', 'site-local'],
  ['169.254.169.254', 'never', 'metadata'],
  ['fe80::1', 'never', 'link-local'],
  ['fd00:ec2::254', 'never', 'metadata over IPv6'],
  ['100.100.100.200', 'never', 'metadata'],
  ['168.63.129.16', 'never', 'metadata'],
  ['::ffff:127.0.0.1', 'loopback', 'mapped'],
  ['::ffff:a9fe:a9fe', 'never', 'mapped metadata'],
  ['64:ff9b::a9fe:a9fe', 'never', 'metadata behind NAT64'],
  ['64:ff9b::7f00:1', 'loopback', 'this host behind NAT64'],
  ['64:ff9b:1::a00:1', 'private', 'behind a local NAT64'],
  ['64:ff9b::808:808', 'public', 'public behind NAT64'],
  ['2002:7f00:1::', 'loopback', '6to4'],
  ['::127.0.0.1', 'loopback', 'compatible'],
  ['::ffff:0:127.0.0.1', 'loopback', 'translated'],
  ['224.0.0.1', 'never', 'multicast'],
  ['255.255.255.255', 'never', 'broadcast'],
  ['192.0.2.1', 'never', 'reserved'],
  ['ff02::1', 'never', 'multicast'],
  ['nonsense', 'never', 'no address'],
] as const) {
  test(`fault 82: ${address} is ${reach}: ${why}`, () => {
    expect(reachOf(address)).toBe(reach)
  })
}

test('fault 82: no way of writing an IPv4 address inside an IPv6 one changes its reach', () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.constantFrom('::ffff:', '64:ff9b::', '::ffff:0:'), (address, prefix) => {
      expect(reachOf(`${prefix}${address}`)).toBe(reachOf(address))
      expect(isLinkLocal(`${prefix}${address}`)).toBe(isLinkLocal(address))
    }),
  )
})

/** An upstream whose endpoint's name has these addresses, and that redirects to `location`. */
async function redirecting(addresses: Record<string, string[]>, location: (port: number) => string, config = {}) {
  const fake = await startUpstream()
  const { lookup, asked } = resolverOf(addresses)
  const upstream = upstreamAt(named(fake.origin, 'reg.example'), { config, parts: { lookup } })
  fake.addImage('library/a', 'latest')
  fake.behave({ match: /latest/, act: { redirect: location(fake.port) } })
  const dispose = async () => {
    await upstream[Symbol.asyncDispose]()
    await fake.stop()
  }
  return { fake, asked, upstream, [Symbol.asyncDispose]: dispose }
}

for (const location of [
  'http://169.254.169.254/latest/meta-data',
  'http://metadata.example/x',
  'http://[::ffff:169.254.169.254]/x',
  'http://[fe80::1]/x',
  'http://0xa9fea9fe/x',
  'http://2852039166/x',
]) {
  test(`fault 82: a redirect to ${location} is never dialled, whatever the endpoint is`, async () => {
    const addresses = { 'metadata.example': ['169.254.169.254', 'fe80::2'] }
    await using house = await redirecting(addresses, () => location, { connect: { private: true } })

    expect(await faultOf(house.upstream.getManifest(path, latest, never))).toBe('upstreamFailed address')
  })
}

test('fault 82: an endpoint on this host may lead to this host, as one of its kind', async () => {
  await using house = await redirecting({}, (port) => `http://other.example:${port}/v2/library/a/manifests/none`)

  expect(await house.upstream.getManifest(path, latest, never)).toEqual({ at: 'absent' })
})

for (const [endpoint, target, isAllowed] of [
  ['10.0.0.1', '10.0.0.2', true],
  ['10.0.0.1', '127.0.0.1', false],
  ['127.0.0.1', '10.0.0.2', true],
  ['8.8.8.8', '10.0.0.2', false],
  ['8.8.8.8', '127.0.0.1', false],
  ['8.8.8.8', '9.9.9.9', true],
] as const) {
  test(`fault 82: an endpoint at ${endpoint} may ${isAllowed ? '' : 'not '}lead to ${target}`, async () => {
    const options = { endpoint: new URL(`http://${endpoint}:5000`), realms: [], isPrivateAllowed: false }
    const guard = new Guard(options)
    const opened = new Guard({ ...options, isPrivateAllowed: true })
    const check = async (judge: Guard) => judge.check(new URL(`http://${target}/x`))

    expect(await faultOf(check(guard))).toBe(isAllowed ? 'nothing' : 'upstreamFailed address')
    expect(await faultOf(check(opened))).toBe('nothing')
  })
}

for (const host of [
  '127.0.0.1',
  '0x7f000001',
  '127.1',
  '2130706433',
  '[::1]',
  'localhost',
  'a.localhost.',
  '0.0.0.0',
]) {
  test(`fault 82: a public upstream leads nobody to this host, written ${host}`, async () => {
    const guard = new Guard({ endpoint: new URL('https://reg.example'), realms: [], isPrivateAllowed: false })

    expect(await faultOf((async () => guard.check(new URL(`http://${host}/`)))())).toBe('upstreamFailed address')
  })
}

test('fault 82: a name is judged each time it is dialled, by the address it has then (DNS rebinding)', async () => {
  await using thief = await startThief()
  const answers = [['127.0.0.1'], ['10.0.0.1', '127.0.0.1']]
  const { lookup } = resolverOf()
  const guard = new Guard({
    endpoint: new URL('https://reg.example'),
    realms: [],
    isPrivateAllowed: false,
    lookup: (hostname, options, callback) =>
      lookup(hostname, options, (error) =>
        callback(
          error,
          (answers.shift() ?? []).map((address) => ({ address, family: 4 })),
        ),
      ),
  })
  const connect = guard.connector({ ca: undefined, timeoutMs: 1000 })
  const port = new URL(thief.origin).port
  const dial = () =>
    new Promise((resolve, reject) => {
      const host = `rebound.example:${port}`
      connect({ hostname: 'rebound.example', host, protocol: 'http:', port }, (...args) =>
        args[0] ? reject(args[0]) : resolve(0),
      )
    })

  expect(await faultOf(dial())).toBe('upstreamFailed address')
  expect(await faultOf(dial())).toBe('upstreamFailed address')
  expect(thief.loot).toEqual([])
})

test('fault 82: a token realm at a private address is not dialled for a public upstream', async () => {
  const endpoint = new URL('https://reg.example')
  const guard = new Guard({ endpoint, realms: ['10.0.0.9'], isPrivateAllowed: false })
  const check = async (url: string) => guard.check(new URL(url))

  expect(await faultOf(check('https://10.0.0.8/token'))).toBe('upstreamFailed address')
  expect(await faultOf(check('https://10.0.0.9/token'))).toBe('nothing')
})

test('fault 83: a proxy at a private address works, and what it would dial is judged before', async () => {
  await using proxy = await startProxy()
  await using fake = await startUpstream()
  const image = fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(named(fake.origin, 'reg.example'), {
    parts: { proxy: { http: proxy.origin }, lookup: () => expect.unreachable('the proxy resolves') },
  })

  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found', digest: image.digest })
  expect(proxy.requests).toEqual([`GET ${named(fake.origin, 'reg.example')}/v2/library/a/manifests/latest`])
  fake.behave({ match: /latest/, act: { redirect: 'http://169.254.169.254/x' } })
  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed address')
  fake.behave({ match: /latest/, act: { redirect: fake.origin } })
  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed address')
})

test('fault 83: what NO_PROXY names is dialled directly', async () => {
  await using proxy = await startProxy()
  await using fake = await startUpstream()
  fake.addImage('library/a', 'latest')
  const { lookup } = resolverOf()
  await using upstream = upstreamAt(named(fake.origin, 'reg.example'), {
    parts: { proxy: { http: proxy.origin, no: 'other.test,.example' }, lookup },
  })

  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  expect(proxy.requests).toEqual([])
})
