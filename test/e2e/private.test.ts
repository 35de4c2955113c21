import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest'
import type { Image } from './support/catalogue.ts'
import type { Client, Wanted } from './support/client.ts'
import { type Docker, startEngine } from './support/dockerd.ts'
import { Folder } from './support/folder.ts'
import { House } from './support/house.ts'
import { openNode } from './support/node-client.ts'
import { podmanIn } from './support/podman.ts'
import { RESOLVERS } from './support/resolvers.ts'
import { ALICE, BOB } from './support/token-server.ts'

const MIB = 1024 * 1024
/** Asked for as often as what is Alice's, so that what was said of them before is as old. */
const NOWHERE = Array.from({ length: 8 }, () => `sha256:${randomBytes(32).toString('hex')}`)
const REVOKED_MS_MAX = 65_000
const ABSENT = /manifest unknown|not found|404/i

/** One tenant with each kind of client, signed in at Millpond. A pull rejects with what its client printed. */
type Tenant = {
  readonly basic: string
  readonly podman: (image: Image) => Promise<string>
  readonly docker: (image: Image) => Promise<string>
  readonly containerd: (image: Image) => Promise<readonly string[]>
}

type Opened = { readonly house: House; readonly alice: Tenant; readonly bob: Tenant; readonly nobody: Tenant['podman'] }

describe('two tenants with real clients, one cache (faults 75 to 77)', () => {
  const closing = new AsyncDisposableStack()
  const opened: Opened[] = []
  const here = () => {
    const [first] = opened
    if (first === undefined) throw new Error('the house was not opened: see the hook that failed')
    onTestFailed(async () => console.error(`Millpond's log ended with\n${await first.house.millpond.tail()}`))
    return { ...first, ...first.house.catalogue }
  }
  const statusFor = async (authorization: string, path: string) => {
    const { millpond } = here().house
    const headers = authorization === '' ? {} : { authorization }
    return (await fetch(`${millpond.url}/v2/registry.example/${path}`, { headers })).status
  }
  /** What Bob is told of Alice's manifest and layers by their digests, in a repository. */
  const toldOfDigests = (repository: string, digests: readonly string[]) =>
    Promise.all(
      [`manifests/${digests[0]}`, ...digests.slice(1).map((digest) => `blobs/${digest}`)].map((path) =>
        statusFor(here().bob.basic, `${repository}/${path}`),
      ),
    )
  const expectAbsentForBob = async () => {
    const { alices, bobs, bob } = here()
    await expect(bob.podman(alices)).rejects.toThrow(ABSENT)
    await expect(bob.docker(alices)).rejects.toThrow(ABSENT)
    await expect(bob.containerd(alices)).rejects.toThrow() // it then asks the registry itself, and tells of that
    const digests = [alices.digest, ...alices.layers.slice(1).map(({ digest }) => digest)]
    for (const end of [`manifests/${alices.tag}`, 'tags/list']) {
      expect(await statusFor(bob.basic, `${alices.repository}/${end}`)).toBe(404)
    }
    expect(new Set(await toldOfDigests(alices.repository, digests))).toEqual(new Set([404]))
    const nowhere = digests.map((_, at) => NOWHERE[at] ?? '')
    expect(await toldOfDigests(bobs.repository, digests)).toEqual(await toldOfDigests(bobs.repository, nowhere))
  }

  beforeAll(async () => {
    const house = closing.use(
      await House.open(async (_, upstreams) => ({
        upstreams: { ...upstreams, 'registry.example': { ...upstreams['registry.example'], private: ['tenant-*/**'] } },
      })),
    )
    const folder = closing.use(await Folder.open())
    const docker = await startEngine(closing, folder, '20.10', { mirrors: [] })
    opened.push({
      house,
      alice: await openTenant(closing, house, docker, ALICE),
      bob: await openTenant(closing, house, docker, BOB),
      nobody: await openPodman(closing, house),
    })
  })
  afterAll(() => closing.disposeAsync())

  test("before Alice's pull her image is absent to Bob; his own he pulls; who is nobody is asked who he is", async () => {
    const { alices, bobs, bob, nobody, house } = here()

    await expectAbsentForBob()
    expect(await bob.podman(bobs)).toMatch(/^[0-9a-f]{64}\n$/)
    expect(await bob.docker(bobs)).toContain(bobs.digest)
    expect(await bob.containerd(bobs)).toContain(bobs.digest)

    await expect(nobody(alices)).rejects.toThrow(/unauthorized/i)
    expect(await nobody(house.catalogue.deep)).toMatch(/^[0-9a-f]{64}\n$/)
  })

  test("while Alice's pull is under way, and after it, her image is absent to Bob; hers by each client", async () => {
    const { alices, alice, house } = here()
    const { gate } = house.fronts['registry.example']
    const stopped = gate.stopAfter(2 * MIB)
    const pull = alice.podman(alices)
    const hasEnded = pull.then(() => 'ended')
    await Promise.race([stopped, hasEnded])

    await expectAbsentForBob()
    expect(await Promise.race([hasEnded, 'under way'])).toBe('under way')
    gate.open()
    expect(await pull).toMatch(/^[0-9a-f]{64}\n$/)

    expect(await alice.docker(alices)).toContain(alices.digest)
    expect(await alice.containerd(alices)).toContain(alices.digest)
    await expectAbsentForBob()
    for (const { digest, size } of alices.layers.slice(1)) {
      expect(house.fronts['registry.example'].counts.blobBytes.get(digest)).toBe(size)
    }
  })

  for (const [name, resolve] of Object.entries(RESOLVERS)) {
    test(`${name} is told of Alice's image as Alice, and not as Bob, as nobody, or with a wrong password`, async () => {
      const { alices, house } = here()
      const at = prefixed(house, alices)

      expect(await resolve(at, ALICE)).toBe(alices.digest)
      await expect(resolve(at, BOB)).rejects.toThrow(ABSENT)
      await expect(resolve(at, { ...ALICE, password: 'wrong' })).rejects.toThrow(ABSENT)
      await expect(resolve(at)).rejects.toThrow(/unauthorized|401|credential/i)
    })
  }

  test('what is taken from Alice upstream is taken from her here within a minute, though all of it is held', async () => {
    const { alices, alice, house } = here()
    const path = `${alices.repository}/blobs/${alices.layers[1]?.digest}`
    expect(await statusFor(alice.basic, path)).toBe(200)

    house.tokens.revoked.add(ALICE.username)
    const fromMs = performance.now()

    const status = () => statusFor(alice.basic, path)
    await expect.poll(status, { timeout: REVOKED_MS_MAX, interval: 500 }).toBe(404)
    expect(performance.now() - fromMs).toBeLessThan(REVOKED_MS_MAX)
    await expect(alice.podman(alices)).rejects.toThrow(ABSENT)
    house.tokens.revoked.delete(ALICE.username)
    await expect.poll(() => alice.podman(alices).catch(String), { timeout: 30_000 }).toMatch(/^[0-9a-f]{64}\n$/)
  })

  test("with upstream stopped, Alice's image is hers from Millpond's disk, and absent to Bob", async () => {
    const { alices, alice, bobs, bob, house } = here()
    expect(await statusFor(alice.basic, `${alices.repository}/manifests/${alices.tag}`)).toBe(200)
    expect(await statusFor(bob.basic, `${bobs.repository}/manifests/${bobs.tag}`)).toBe(200)

    await house.stopUpstream()

    expect(await alice.docker(alices)).toContain(alices.digest)
    expect(await alice.podman(alices)).toMatch(/^[0-9a-f]{64}\n$/)
    await expectAbsentForBob()
    expect(await bob.podman(bobs)).toMatch(/^[0-9a-f]{64}\n$/)
  })
})

type Account = typeof ALICE | typeof BOB

async function openTenant(closing: AsyncDisposableStack, house: House, docker: Docker, account: Account) {
  const { username, password } = account
  const { host } = house.millpond
  const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  const folder = closing.use(await Folder.open())
  const podman = await openPodman(closing, house, account)
  await mkdir(folder.join('docker'))
  const asTenant = (...args: string[]) => docker('--config', folder.join('docker'), ...args)
  expect(await asTenant('login', '-u', username, '-p', password, host)).toContain('Login Succeeded')
  const settingsOf = (url: string) => [`  [host."${url}".header]`, `    authorization = "${basic}"`]
  const node: Client = closing.use(await openNode(house, { version: '2.4', by: 'ctr', settingsOf }))
  return {
    basic,
    podman,
    docker: async (image: Image) => {
      const told = await asTenant('pull', prefixed(house, image))
      await asTenant('rmi', '--force', prefixed(house, image))
      return told
    },
    containerd: ({ repository, tag }: Image) => {
      const wanted: Wanted = { upstream: 'registry.example', repository, reference: `:${tag}` }
      return node.pull(wanted)
    },
  }
}

/** Pulls anew each time. */
async function openPodman(closing: AsyncDisposableStack, house: House, account?: Account): Promise<Tenant['podman']> {
  const folder = closing.use(await Folder.open())
  await writeFile(folder.join('registries.conf'), 'unqualified-search-registries = []\n')
  const podman = await podmanIn(folder)
  if (account) {
    const who = ['-u', account.username, '-p', account.password, house.millpond.host]
    expect(await podman('login', '--tls-verify=false', ...who)).toContain('Login Succeeded')
  }
  return async (image) => {
    const told = await podman('pull', '--quiet', '--tls-verify=false', prefixed(house, image))
    await podman('rmi', '--force', prefixed(house, image))
    return told
  }
}

const prefixed = (house: House, { repository, tag }: Image): string =>
  `${house.millpond.host}/registry.example/${repository}:${tag}`
