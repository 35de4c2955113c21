import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest'
import type { Client, Wanted } from './support/client.ts'
import { openCrane } from './support/crane.ts'
import { House } from './support/house.ts'

const MIB = 1024 * 1024
const CLIENTS = 8

const closing = new AsyncDisposableStack()
const opened: { house: House; clients: readonly Client[] }[] = []

beforeAll(async () => {
  const house = closing.use(await House.open())
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => openCrane(house)))
  for (const client of clients) closing.use(client)
  opened.push({ house, clients })
})
afterAll(() => closing.disposeAsync())

test(`${CLIENTS} clients that pull a cold image at once cost upstream one pull`, async () => {
  const { house, clients } = here()
  const { pond } = house.catalogue
  const wanted: Wanted = { upstream: 'docker.io', repository: pond.repository, reference: `:${pond.tag}` }

  const told = await Promise.all(clients.map((client) => client.pull(wanted)))

  await house.untilIdle()
  const { counts } = house.fronts['docker.io']
  expect(told).toEqual(clients.map(() => [pond.digest]))
  expect([...counts.pulls.values()]).toEqual([1])
  for (const { digest, size } of pond.layers) expect(counts.blobBytes.get(digest)).toBe(size)
})

test('a Millpond that is killed amid a pull goes on with what it had, once it is started again', async () => {
  const { house, clients } = here()
  const [first, second] = clients
  const { spare } = house.catalogue
  const { counts, gate } = house.fronts['registry.example']
  const wanted: Wanted = { upstream: 'registry.example', repository: spare.repository, reference: `:${spare.tag}` }
  const stopped = gate.stopAfter(20 * MIB)
  const cut = first?.pull(wanted).catch((error: unknown) => error) // crane may well come through: it tries again
  await stopped

  await house.millpond.killAndStart()
  gate.open()
  await cut
  const told = await second?.pull(wanted)

  expect(told).toEqual([spare.digest])
  for (const { digest, size } of spare.layers) {
    expect(counts.blobBytes.get(digest) ?? 0).toBeLessThan(1.6 * size + MIB)
  }
})

function here() {
  const [first] = opened
  if (first === undefined) throw new Error('the house was not opened: see the hook that failed')
  onTestFailed(async () => console.error(`Millpond's log ended with\n${await first.house.millpond.tail()}`))
  return first
}
