import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { HandClock, outsideOf } from '../cache/hand-clock.ts'
import { CLIENT_TLS } from '../support/client-tls.ts'
import { type HouseOptions, startHouse } from '../support/house.ts'
import { TEST_TLS } from '../support/tls.ts'
import { startUpstream } from '../support/upstream.ts'

const ca = TEST_TLS.cert
const ofClient = (cert: string) => ({ ca, cert, key: CLIENT_TLS.key })

async function guarded(options: HouseOptions = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-mtls-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const files = { 'own.crt': TEST_TLS.cert, 'own.key': TEST_TLS.key, 'clients.crt': CLIENT_TLS.ca }
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const upstream = await startUpstream()
  onTestFinished(() => upstream.stop())
  upstream.addImage('a/b', 'v1')
  const house = await startHouse(upstream, {
    ...options,
    tls: { cert: join(folder, 'own.crt'), key: join(folder, 'own.key') },
    access: { mode: 'mtls', ca: join(folder, 'clients.crt') },
  })
  onTestFinished(() => house[Symbol.asyncDispose]())
  return { house, upstream, clientsFile: join(folder, 'clients.crt') }
}

test('a client with a certificate of our authority is served', async () => {
  const { house } = await guarded()

  const told = [
    await house.ask('/v2/', ofClient(CLIENT_TLS.good)),
    await house.getManifest('a/b', 'v1', ofClient(CLIENT_TLS.good)),
  ]

  expect(told.map(({ status }) => status)).toEqual([200, 200])
})

for (const [why, asking] of [
  ['none', { ca }],
  ['one that has expired', ofClient(CLIENT_TLS.expired)],
  ['one of another authority with the same name', ofClient(CLIENT_TLS.foreign)],
  ['one that is for servers alone', ofClient(CLIENT_TLS.server)],
  ['one that it signed itself', { ca, cert: TEST_TLS.cert, key: TEST_TLS.key }],
] as const) {
  test(`fault 81: with ${why} a client reads why it is not served, the same for all paths, and nothing goes upstream`, async () => {
    const { house, upstream } = await guarded()

    const told = [
      await house.ask('/v2/', asking),
      await house.getManifest('a/b', 'v1', asking),
      await house.getManifest('A/..', 'v1', { ...asking, headers: { authorization: 'Basic YTpi' } }),
      await house.ask('/v2/a/b/manifests/v1', { ...asking, method: 'PUT' }),
    ]

    expect(told.map(({ status }) => status)).toEqual([403, 403, 403, 403])
    expect(new Set(told.map(({ body }) => body.toString())).size).toBe(1)
    expect(told[0]?.body.toString()).toContain('{"errors":[{"code":"DENIED","message":"a client certificate')
    expect(told[0]?.headers['www-authenticate']).toBeUndefined()
    expect(upstream.requests).toEqual([])
  })
}

/** One connection: its first answer's status, whether it went on from a session, and a session to go on from. */
async function statusOn(origin: string, options: ConnectionOptions) {
  const { hostname: host, port } = new URL(origin)
  const socket = connect({ host, port: Number(port), ca, ...options })
  const sessions: Buffer[] = []
  socket.on('session', (session) => sessions.push(session))
  const status = await firstStatus(socket)
  const isReused = socket.isSessionReused()
  const session = sessions.at(-1) ?? socket.getSession()
  socket.destroy()
  return { status, isReused, session }
}

async function firstStatus(socket: TLSSocket): Promise<string> {
  socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')
  const [piece] = await once(socket, 'data')
  return String(piece).split(' ', 2)[1] ?? ''
}

for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
  test(`over ${version} no session opens what a certificate does not: who had none, and who shows none any more`, async () => {
    const { house } = await guarded()
    const only = { minVersion: version, maxVersion: version }
    const stranger = await statusOn(house.origin, only)
    const friend = await statusOn(house.origin, { ...only, cert: CLIENT_TLS.good, key: CLIENT_TLS.key })

    const again = [stranger, friend].map(({ session }) =>
      statusOn(house.origin, { ...only, ...(session && { session }) }),
    )

    expect([stranger.status, friend.status]).toEqual(['403', '200'])
    expect((await Promise.all(again)).map(({ status, isReused }) => [status, isReused])).toEqual([
      ['403', false],
      ['403', false],
    ])
  })
}

test('a certificate that expires while its connection is open opens nothing more', async () => {
  const clock = new HandClock()
  const { house } = await guarded({ outside: outsideOf(clock) })
  const { hostname: host, port } = new URL(house.origin)
  const socket = connect({ host, port: Number(port), ...ofClient(CLIENT_TLS.good) })
  onTestFinished(() => void socket.destroy())

  const before = await firstStatus(socket)
  clock.stepWall(Date.UTC(2120, 0, 2) - clock.wallMs())
  const after = await firstStatus(socket)

  expect([before, after]).toEqual(['200', '403'])
})

test('when the authorities are read again, the new ones count for who comes, and still no session opens anything', async () => {
  const { house, clientsFile } = await guarded()
  const before = await statusOn(house.origin, { cert: CLIENT_TLS.good, key: CLIENT_TLS.key })

  await writeFile(clientsFile, TEST_TLS.cert)
  house.server.reload(house.config)
  const old = await statusOn(house.origin, { cert: CLIENT_TLS.good, key: CLIENT_TLS.key })
  const own = await statusOn(house.origin, { cert: TEST_TLS.cert, key: TEST_TLS.key })
  const { session } = own
  const resumed = await statusOn(house.origin, { ...(session && { session }) })

  expect([before.status, old.status, own.status]).toEqual(['200', '403', '200'])
  expect([resumed.status, resumed.isReused]).toEqual(['403', false])
})

test('when the authorities are read again and are others, whoever is connected has to come again', async () => {
  const { house, clientsFile } = await guarded()
  const { hostname: host, port } = new URL(house.origin)
  const socket = connect({ host, port: Number(port), ...ofClient(CLIENT_TLS.good) })
  onTestFinished(() => void socket.destroy())
  const before = await firstStatus(socket)
  house.server.reload(house.config)
  const whileTheSame = await firstStatus(socket)

  await writeFile(clientsFile, TEST_TLS.cert)
  house.server.reload(house.config)
  await once(socket, 'close')

  expect([before, whileTheSame]).toEqual(['200', '200'])
})
