import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import { TEST_TLS } from '../support/tls.ts'
import { startUpstream } from '../support/upstream.ts'
import { faultOf, latest, named, never, path, resolverOf, upstreamAt } from './support.ts'
import { caFile } from './thief-support.ts'

const { lookup } = resolverOf()

test('fault 17: a certificate of nobody’s trust is refused, once, and never asked without', async () => {
  await using fake = await startUpstream({ tls: TEST_TLS })
  fake.addImage('library/a', 'latest')
  await using upstream = upstreamAt(fake.origin)

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed connect')
  expect(fake.requests).toEqual([])
})

test('fault 17: a certificate for another name is refused, though its CA is trusted', async () => {
  await using ca = await caFile()
  await using fake = await startUpstream({ tls: TEST_TLS })
  const config = { connect: { ca: ca.file } }
  await using upstream = upstreamAt(named(fake.origin, 'other.test'), { config, parts: { lookup } })

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed connect')
  expect(fake.requests).toEqual([])
})

test('an extra CA is trusted besides the usual ones, for the endpoint that it was given for', async () => {
  await using ca = await caFile()
  await using fake = await startUpstream({ tls: TEST_TLS })
  fake.addImage('library/a', 'latest')
  const config = { connect: { ca: ca.file } }
  await using upstream = upstreamAt(named(fake.origin, 'registry.test'), { config, parts: { lookup } })

  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  expect(() => upstreamAt(fake.origin, { config: { connect: { ca: join(ca.file, 'none') } } })).toThrow()
})

test('fault 13: a redirect from https to http is not followed', async () => {
  await using ca = await caFile()
  await using fake = await startUpstream({ tls: TEST_TLS })
  await using plain = await startUpstream()
  fake.addImage('library/a', 'latest')
  fake.behave({ match: /manifests/, act: { redirect: plain.origin } })
  await using upstream = upstreamAt(fake.origin, { config: { connect: { ca: ca.file } } })

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed redirect')
  expect(plain.requests).toEqual([])
})

test('fault 71: a realm without TLS behind an upstream with it is not asked at all', async () => {
  await using ca = await caFile()
  await using plain = await startUpstream()
  await using fake = await startUpstream({ tls: TEST_TLS, auth: { kind: 'bearer', realm: `${plain.origin}/token` } })
  await using upstream = upstreamAt(fake.origin, { config: { connect: { ca: ca.file } } })

  expect(await faultOf(upstream.getManifest(path, latest, never))).toBe('upstreamFailed realm')
  expect(plain.requests).toEqual([])
})

test('fault 83: https goes through the proxy by CONNECT, judged by the same certificates', async () => {
  await using ca = await caFile()
  await using proxy = await startProxy()
  await using fake = await startUpstream({ tls: TEST_TLS })
  fake.addImage('library/a', 'latest')
  const parts = { proxy: { https: proxy.origin } }
  const config = { connect: { ca: ca.file } }
  await using upstream = upstreamAt(named(fake.origin, 'registry.test'), { config, parts })
  await using strict = upstreamAt(named(fake.origin, 'registry.test'), { parts })

  expect(await upstream.getManifest(path, latest, never)).toMatchObject({ at: 'found' })
  expect(proxy.requests).toEqual([`CONNECT registry.test:${fake.port}`])
  expect(await faultOf(strict.getManifest(path, latest, never))).toBe('upstreamFailed connect')
  expect(fake.requests).toHaveLength(1)
})
