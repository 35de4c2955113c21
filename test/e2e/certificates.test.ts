import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest'
import { type Authority, authorityIn } from './support/authority.ts'
import type { Wanted } from './support/client.ts'
import { run } from './support/command.ts'
import { startEngine } from './support/dockerd.ts'
import { Folder } from './support/folder.ts'
import { House } from './support/house.ts'
import { openNode } from './support/node-client.ts'
import { podmanIn } from './support/podman.ts'
import { debianTool } from './support/tools.ts'

const REFUSED = /403|denied|a client certificate of an authority/i

describe('real clients where a certificate is asked for (access.mode mtls)', () => {
  const closing = new AsyncDisposableStack()
  const opened: { house: House; authority: Authority }[] = []
  const here = () => {
    const [first] = opened
    if (first === undefined) throw new Error('the house was not opened: see the hook that failed')
    onTestFailed(async () => console.error(`Millpond's log ended with\n${await first.house.millpond.tail()}`))
    const { deep } = first.house.catalogue
    const name = `${first.house.millpond.host}/registry.example/${deep.repository}:${deep.tag}`
    return { ...first, host: first.house.millpond.host, deep, name }
  }

  beforeAll(async () => {
    const authority = await authorityIn(closing.use(await Folder.open()))
    const { server, ca } = authority
    const house = closing.use(await House.open(async () => ({ tls: server, access: { mode: 'mtls', ca } })))
    opened.push({ house, authority })
  })
  afterAll(() => closing.disposeAsync())

  test('podman and skopeo: with a folder of certificates they pull, with the authority alone they read why not', async () => {
    const { authority, deep, name } = here()
    await using folder = await Folder.open()
    await writeFile(folder.join('registries.conf'), 'unqualified-search-registries = []\n')
    const podman = await podmanIn(folder)
    const skopeo = (...args: string[]) => run(debianTool('skopeo'), ['inspect', ...args, `docker://${name}`])
    const [stranger, friend] = [folder.join('stranger'), folder.join('friend')]
    await writeCertificates(stranger, authority, false)
    await writeCertificates(friend, authority, true)

    await expect(podman('pull', '--cert-dir', stranger, name)).rejects.toThrow(REFUSED)
    await expect(skopeo('--cert-dir', stranger)).rejects.toThrow(REFUSED)

    expect(await podman('pull', '--quiet', '--cert-dir', friend, name)).toMatch(/^[0-9a-f]{64}\n$/)
    expect(JSON.parse(await skopeo('--cert-dir', friend)).Digest).toBe(deep.digest)
  })

  test('dockerd: with certificates in certs.d it pulls, with the authority alone it does not', async () => {
    const { authority, host, deep, name } = here()
    const pulled = async (isFriend: boolean) => {
      await using opening = new AsyncDisposableStack()
      const folder = opening.use(await Folder.open())
      await writeCertificates(folder.join('etc', 'certs.d', host), authority, isFriend)
      const docker = await startEngine(opening, folder, 'current', { mirrors: [], etc: folder.join('etc') })
      return await docker('pull', name)
    }

    await expect(pulled(false)).rejects.toThrow(REFUSED)
    expect(await pulled(true)).toContain(`Digest: ${deep.digest}`)
  })

  test('containerd 2.4: with `client` in hosts.toml it pulls, with `ca` alone it does not', async () => {
    const { house, authority, deep } = here()
    const { ca, client } = authority
    const wanted: Wanted = { upstream: 'registry.example', repository: deep.repository, reference: `:${deep.tag}` }
    const nodeWith = (...settings: string[]) =>
      openNode(house, { version: '2.4', by: 'ctr', settingsOf: () => [`  ca = "${ca}"`, ...settings] })
    await using stranger = await nodeWith()
    await using friend = await nodeWith(`  client = [["${client.cert}", "${client.key}"]]`)

    await expect(stranger.pull(wanted)).rejects.toThrow()
    expect(await friend.pull(wanted)).toContain(deep.digest)
  })
})

/** As docker and podman have it (containers-certs.d(5)). */
async function writeCertificates(folder: string, { ca, client }: Authority, isFriend: boolean): Promise<void> {
  await mkdir(folder, { recursive: true })
  await copyFile(ca, `${folder}/ca.crt`)
  if (!isFriend) return
  await copyFile(client.cert, `${folder}/client.cert`)
  await copyFile(client.key, `${folder}/client.key`)
}
