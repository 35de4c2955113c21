import { describe, expect, onTestFailed, test } from 'vitest'
import type { Client, Wanted } from './support/client.ts'
import { openDockerd } from './support/dockerd.ts'
import { House } from './support/house.ts'
import { openNode } from './support/node-client.ts'

const CLIENTS: Readonly<Record<string, (house: House) => Promise<Client>>> = {
  'containerd 2.4, asked by ctr': (house) => openNode(house, { version: '2.4', by: 'ctr' }),
  'containerd 2.4, asked through CRI': (house) => openNode(house, { version: '2.4', by: 'crictl' }),
  'dockerd 20.10': (house) => openDockerd(house, { engine: '20.10', way: 'mirror' }),
  'dockerd current': (house) => openDockerd(house, { engine: 'current', way: 'mirror' }),
}

describe.each(Object.entries(CLIENTS))('%s', (_name, open) => {
  test('fault 88: while upstream answers 503 a client that has nothing still gets all that is held, and no 404', async () => {
    await using house = await House.open()
    onTestFailed(async () => console.error(`Millpond's log ended with\n${await house.millpond.tail()}`))
    const { pond, spare } = house.catalogue
    const held: Wanted = { upstream: 'docker.io', repository: pond.repository, reference: `:${pond.tag}` }
    const cold: Wanted = { upstream: 'docker.io', repository: spare.repository, reference: `:${spare.tag}` }
    {
      await using first = await open(house)
      expect(await first.pull(held)).toContain(pond.digest)
    }
    await house.untilIdle()
    await house.millpond.restart()
    house.fronts['docker.io'].isFailing = true
    await using second = await open(house)

    const told = await second.pull(held)
    // by hand: where Millpond has nothing dockerd asks Docker Hub itself, which is none of a test's business
    const asked = await fetch(`${house.millpond.url}/v2/${cold.repository}/manifests/${spare.tag}`)
    house.fronts['docker.io'].isFailing = false
    const absent = await fetch(`${house.millpond.url}/v2/${cold.repository}/manifests/none`)

    expect(told).toContain(pond.digest)
    expect([asked.status, absent.status]).toEqual([502, 404])
    expect(await second.pull(cold)).toContain(spare.digest)
  })
})
