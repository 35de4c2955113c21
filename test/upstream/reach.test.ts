import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Endpoints } from '../../src/upstream/endpoints.ts'
import { watchDialled } from '../support/dialled.ts'
import { type ForwardProxy, startProxy } from '../support/proxy.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'
import { faultOf, latest, named, never, openBlob, path, resolverOf, upstreamAt } from './support.ts'

/** Hosts as an upstream may write them in a Location or a realm. */
const LINK_LOCAL = [
  '169.254.169.254',
  '169.254.0.1',
  '169.254.169.254.',
  '0xa9fea9fe',
  '2852039166',
  '0251.0376.0251.0376',
  '169.16689662',
  'u:p@169.254.169.254',
  '[fe80::1]',
  '[febf::1]',
  '[::ffff:169.254.169.254]',
  '[::ffff:a9fe:a9fe]',
  '[::169.254.169.254]',
  '[::ffff:0:169.254.169.254]',
  '[64:ff9b::a9fe:a9fe]',
  '[64:ff9b:1::a9fe:a9fe]',
  '[64:ff9b:1:a9fe:a9:fe00:808:808]',
  '[2002:a9fe:a9fe::]',
]

const NO_HOSTS = [
  '100.100.100.200',
  '168.63.129.16',
  '[fd00:ec2::254]',
  '[fd00:ec2::23]',
  '[fd20:ce::254]',
  '192.0.0.192',
  '192.0.2.1',
  '198.18.0.1',
  '198.51.100.7',
  '203.0.113.9',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '[ff02::1]',
  '[2001::1]',
  '[2001:db8::1]',
  '[3fff::1]',
  '[100::1]',
]

const LOOPBACK = [
  '127.0.0.1',
  '127.255.255.254',
  '127.0.0.1.',
  '127.1',
  '0x7f000001',
  '0x7f.1',
  '017700000001',
  '2130706433',
  '0',
  '0.0.0.0',
  '0.1.2.3',
  'localhost',
  'LOCALHOST.',
  'a.localhost',
  'reg.example@127.0.0.1',
  '[::1]',
  '[::]',
  '[0:0:0:0:0:0:0:1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::ffff:0:127.0.0.1]',
  '[::127.0.0.1]',
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b:1::7f00:1]',
  '[64:ff9b:1:7f00:0:100:808:808]',
  '[64:ff9b:1:7f:0:1:808:808]',
  '[64:ff9b:1:1:7f:0:108:808]',
  '[2002:7f00:1::]',
]

const PRIVATE = [
  '10.0.0.1',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '100.64.0.1',
  '100.127.255.255',
  '[fc00::1]',
  '[fd12::1]',
  '[fec0::1]',
  '[::ffff:10.0.0.1]',
  '[64:ff9b::10.0.0.1]',
  '[64:ff9b:1::808:808]',
  '[2002:0a00:1::]',
]

type Way = 'the redirect of a manifest' | 'the redirect of a blob' | 'a token realm' | 'the second hop of a redirect'
const WAYS: readonly Way[] = [
  'the redirect of a manifest',
  'the redirect of a blob',
  'a token realm',
  'the second hop of a redirect',
]

let fake: FakeUpstream
let hop: FakeUpstream
let proxy: ForwardProxy
beforeAll(async () => {
  fake = await startUpstream()
  hop = await startUpstream()
  proxy = await startProxy()
})
afterAll(async () => {
  await proxy[Symbol.asyncDispose]()
  await hop.stop()
  await fake.stop()
})

const DIGEST = `sha256:${'d'.repeat(64)}` as Parameters<typeof openBlob>[1]

/** How it ends where an upstream leads to `target` in this way; `onward` is where the first of two hops leads. */
async function led(upstream: Endpoints, way: Way, target: string, onward = `${hop.origin}/on`): Promise<string> {
  fake.behaveWell()
  hop.behaveWell()
  const challenge = { 'www-authenticate': `Bearer realm="${target}"` }
  hop.behave({ match: /./, act: { redirect: target } })
  if (way === 'a token realm') fake.behave({ match: /./, act: { status: 401, headers: challenge } })
  else fake.behave({ match: /./, act: { redirect: way.includes('second') ? onward : target } })
  return way.includes('blob')
    ? await faultOf(openBlob(upstream, DIGEST))
    : await faultOf(upstream.getManifest(path, latest, never))
}

/** Of the addresses dialled those that are not one of our two servers. */
const elsewhere = (dialled: readonly string[]) =>
  dialled.filter((address) => ![fake, hop].some(({ origin }) => origin === `http://${address}`))

for (const way of WAYS) {
  test(`fault 82: what is nobody’s to dial is not dialled by ${way}, even where private addresses are allowed`, async () => {
    const dialled = watchDialled()
    await using upstream = upstreamAt(fake.origin, { config: { connect: { private: true } } })
    const targets = [...LINK_LOCAL, ...NO_HOSTS].map((host) => `http://${host}:8080/x`)

    for (const target of targets) expect(await led(upstream, way, target), target).toBe('upstreamFailed address')

    expect(elsewhere(dialled)).toEqual([])
  })

  test(`fault 82: a name whose address is nobody’s to dial is not dialled by ${way}`, async () => {
    const dialled = watchDialled()
    const { lookup, asked } = resolverOf({
      'metadata.example': ['169.254.169.254', 'fe80::1', 'fd00:ec2::254', '::ffff:169.254.169.254', '255.255.255.255'],
    })
    await using upstream = upstreamAt(fake.origin, { parts: { lookup } })

    const ended = await led(upstream, way, 'http://metadata.example/x')

    expect(ended).toBe('upstreamFailed address')
    expect(asked).toEqual(['metadata.example'])
    expect(elsewhere(dialled)).toEqual([])
  })

  test(`fault 82: a public upstream leads nobody home by ${way}, nor has its proxy dial there`, async () => {
    const { origin } = fake
    await using upstream = upstreamAt(named(origin, 'reg.example'), { parts: { proxy: { http: proxy.origin } } })
    const targets = [...LOOPBACK, ...PRIVATE, ...LINK_LOCAL, ...NO_HOSTS].map((host) => `http://${host}:8080/x`)
    const before = proxy.requests.length

    for (const target of targets) {
      const ended = await led(upstream, way, target, `${named(hop.origin, 'hop.example')}/on`)
      expect(ended, target).toBe('upstreamFailed address')
    }

    const asked = new Set(proxy.requests.slice(before).map((line) => new URL(line.split(' ')[1] ?? '').hostname))
    expect([...asked]).toEqual(way.includes('second') ? ['reg.example', 'hop.example'] : ['reg.example'])
  })
}
