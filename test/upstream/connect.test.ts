import { Agent, type buildConnector } from 'undici'
import { expect, test } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { OciError } from '../../src/base/errors.ts'
import { BlobAnswer } from '../../src/upstream/blob-socket.ts'
import { BlobSockets } from '../../src/upstream/blob-sockets.ts'
import { Guard, type GuardOptions } from '../../src/upstream/guard.ts'
import { watchDialled } from '../support/dialled.ts'
import { TEST_TLS } from '../support/tls.ts'
import { type FakeUpstream, startUpstream } from '../support/upstream.ts'
import { named, resolverOf } from './support.ts'

/** Asks for `url` by one of our two ways out, on sockets that a guard opens; the status, or the fault. */
type Ask = (guard: Guard, url: string) => Promise<string>

const connect = { ca: [TEST_TLS.cert], timeoutMs: 2_000 }

async function byUndici(guard: Guard, url: string): Promise<string> {
  const agent = new Agent({ connect: guard.connector(connect) })
  try {
    const { origin, pathname } = new URL(url)
    const { statusCode, body } = await agent.request({ origin, path: pathname, method: 'GET' })
    await body.dump()
    return String(statusCode)
  } catch (error) {
    return faultIn(error)
  } finally {
    await agent.destroy()
  }
}

async function byBlobSockets(guard: Guard, url: string): Promise<string> {
  const connectorOf = (onread: NonNullable<Parameters<Guard['connector']>[0]['onread']>): buildConnector.connector =>
    guard.connector({ ...connect, onread })
  const sockets = new BlobSockets({ connectionsMax: 2, clock: systemOutside.clock, connectorOf })
  const answer = new BlobAnswer({ onSent: () => undefined, onOver: () => undefined, onBytes: () => undefined })
  sockets.send({ url: new URL(url), headers: {}, answer }, false)
  try {
    return String((await answer.head).status)
  } catch (error) {
    return faultIn(error)
  } finally {
    sockets.close()
  }
}

const faultIn = (error: unknown): string => (error instanceof OciError ? String(error.fault) : String(error))

const WAYS: readonly (readonly [way: string, ask: Ask, tls: boolean])[] = [
  ['undici, plain', byUndici, false],
  ['undici, TLS', byUndici, true],
  ['the blob sockets, plain', byBlobSockets, false],
  ['the blob sockets, TLS', byBlobSockets, true],
]

const startFake = (isTls: boolean): Promise<FakeUpstream> => startUpstream(isTls ? { tls: TEST_TLS } : {})
const ping = (fake: FakeUpstream, host: string) => `${named(fake.origin, host)}/v2/`
const guardOf = (options: Partial<GuardOptions>) =>
  new Guard({ endpoint: new URL('https://reg.example'), realms: [], isPrivateAllowed: false, ...options })

const HOME = ['127.0.0.1', '127.9.9.9', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1', '::ffff:7f00:1', '64:ff9b::7f00:1']
const NEAR = ['10.0.0.1', '172.20.0.1', '192.168.0.1', '100.64.0.1', 'fd12::1', 'fec0::1', '2002:a00:1::']
const NOBODYS = ['169.254.169.254', 'fe80::1', 'fe80::1%lo', '::ffff:a9fe:a9fe', '64:ff9b:1::a9fe:a9fe', '224.0.0.1']

for (const [way, ask, tls] of WAYS) {
  test(`fault 82: by ${way} no name is dialled that answers a private, a loopback or a link-local address`, async () => {
    const dialled = watchDialled()
    await using fake = await startFake(tls)
    for (const answers of [...[...HOME, ...NEAR, ...NOBODYS].map((address) => [address]), HOME, [...NEAR, ...HOME]]) {
      const { lookup } = resolverOf({ 'registry.test': answers })

      expect(await ask(guardOf({ lookup }), ping(fake, 'registry.test')), answers.join()).toBe('address')
    }

    expect(dialled).toEqual([])
    expect(fake.connections).toBe(0)
  })

  test(`fault 82: by ${way} a literal is judged too, though it is never looked up`, async () => {
    const dialled = watchDialled()
    await using fake = await startFake(tls)
    const guard = guardOf({ lookup: () => expect.unreachable('a literal has no name') })

    for (const host of ['127.0.0.1', '[::1]', '[::ffff:127.0.0.1]', '0x7f000001', '10.0.0.1', '[fe80::1]']) {
      expect(await ask(guard, ping(fake, host)), host).toBe('address')
    }

    expect(dialled).toEqual([])
  })

  test(`fault 82: by ${way} of several answers those that may not be dialled never are, and the next is`, async () => {
    const dialled = watchDialled()
    await using fake = await startFake(tls)
    // nobody listens at the first that may be dialled
    const answers = ['169.254.169.254', 'fe80::1', '127.9.9.9', '::ffff:169.254.0.1', '127.0.0.1']
    const { lookup } = resolverOf({ 'registry.test': answers })
    const guard = guardOf({ endpoint: new URL('http://127.0.0.1:1'), lookup })

    expect(await ask(guard, ping(fake, 'registry.test'))).toBe('200')

    expect(new Set(dialled)).toEqual(new Set([`127.9.9.9:${fake.port}`, `127.0.0.1:${fake.port}`]))
  })

  test(`fault 82: by ${way} a name that answers otherwise at its next connection is judged anew`, async () => {
    const dialled = watchDialled()
    await using fake = await startFake(tls)
    const answers: Record<string, string[]> = { 'registry.test': ['127.0.0.1'] }
    const { lookup } = resolverOf(answers)
    const guard = guardOf({ endpoint: new URL('http://127.0.0.1:1'), lookup })

    const first = await ask(guard, ping(fake, 'registry.test'))
    answers['registry.test'] = ['169.254.169.254']
    const second = await ask(guard, ping(fake, 'registry.test'))

    expect([first, second]).toEqual(['200', 'address'])
    expect(new Set(dialled)).toEqual(new Set([`127.0.0.1:${fake.port}`]))
  })

  test(`fault 82: by ${way} a host that was named may be at home, at this origin alone, and never be link-local`, async () => {
    const dialled = watchDialled()
    await using fake = await startFake(tls)
    const { lookup } = resolverOf({ 'other.test': ['169.254.169.254', 'fe80::1'] })
    const realms = [`other.test:${fake.port}`]
    const atHome = guardOf({ endpoint: new URL(ping(fake, 'registry.test')), lookup, realms })
    const elsewhere = guardOf({ endpoint: new URL('https://registry.test:1'), lookup, realms })

    expect(await ask(elsewhere, ping(fake, 'registry.test'))).toBe('address')
    expect(await ask(atHome, ping(fake, 'registry.test'))).toBe('200')
    expect(await ask(atHome, ping(fake, 'other.test'))).toBe('address')

    expect(new Set(dialled)).toEqual(new Set([`127.0.0.1:${fake.port}`]))
  })
}

test('fault 82: private leads to private and loopback to both, as far as a connection showed', async () => {
  await using fake = await startUpstream()
  const { lookup } = resolverOf({ 'near.test': ['10.255.255.1'] })
  const home = guardOf({ endpoint: new URL(ping(fake, 'registry.test')), lookup })
  const mayReach = async (guard: Guard, url: string) => {
    try {
      guard.check(new URL(url))
      return true
    } catch (error) {
      return faultIn(error)
    }
  }

  expect(await mayReach(home, 'http://10.0.0.1')).toBe('address')
  expect(await byUndici(home, ping(fake, 'registry.test'))).toBe('200')
  expect(await mayReach(home, 'http://10.0.0.1')).toBe(true)
  expect(await mayReach(home, 'http://127.0.0.1')).toBe(true)
  expect(await mayReach(home, 'http://169.254.1.1')).toBe('address')
  const reserved = guardOf({ endpoint: new URL('http://198.18.0.1') })
  expect(await mayReach(reserved, 'http://127.0.0.1')).toBe('address')
})
