import { writeFile } from 'node:fs/promises'
import { hashSync } from '@node-rs/bcrypt'
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest'
import { nameOf, type Wanted } from './support/client.ts'
import { type Docker, startEngine } from './support/dockerd.ts'
import { Folder } from './support/folder.ts'
import { House } from './support/house.ts'
import { openNode } from './support/node-client.ts'
import { podmanIn } from './support/podman.ts'
import { RESOLVERS } from './support/resolvers.ts'

const ANN = { username: 'ann', password: 'right' } as const
const BASIC = `Basic ${Buffer.from(`${ANN.username}:${ANN.password}`).toString('base64')}`
const REFUSED = /unauthorized|401|invalid username\/password|no basic auth credentials|credential not found/i

describe('real clients where a name and a password are asked for (access.mode htpasswd)', () => {
  const closing = new AsyncDisposableStack()
  const opened: { house: House; folder: Folder }[] = []
  const here = () => {
    const [first] = opened
    if (first === undefined) throw new Error('the house was not opened: see the hook that failed')
    onTestFailed(async () => console.error(`Millpond's log ended with\n${await first.house.millpond.tail()}`))
    const { deep, vault } = first.house.catalogue
    const at = (image: typeof deep) => `${first.house.millpond.host}/registry.example/${image.repository}:${image.tag}`
    return { ...first, host: first.house.millpond.host, deep, deepName: at(deep), vault, vaultName: at(vault) }
  }

  beforeAll(async () => {
    const folder = closing.use(await Folder.open())
    const house = closing.use(
      await House.open(async (place) => {
        const file = place.join('htpasswd')
        await writeFile(file, `${ANN.username}:${hashSync(ANN.password, 10).replace('$2b$', '$2y$')}\n`)
        return { access: { mode: 'htpasswd', htpasswd: file } }
      }),
    )
    opened.push({ house, folder })
  })
  afterAll(() => closing.disposeAsync())

  test('podman: a wrong password fails the login, the right one logs in and pulls', async () => {
    const { host, vaultName } = here()
    await using folder = await Folder.open()
    await writeFile(folder.join('registries.conf'), 'unqualified-search-registries = []\n')
    const podman = await podmanIn(folder)
    const login = (password: string) => podman('login', '--tls-verify=false', '-u', ANN.username, '-p', password, host)

    await expect(podman('pull', '--tls-verify=false', vaultName)).rejects.toThrow(REFUSED)
    await expect(login('wrong')).rejects.toThrow(REFUSED)
    expect(await login(ANN.password)).toContain('Login Succeeded')

    expect(await podman('pull', '--quiet', '--tls-verify=false', vaultName)).toMatch(/^[0-9a-f]{64}\n$/)
  })

  test('docker: a wrong password fails the login, the right one logs in and pulls', async () => {
    const { host, vault, vaultName } = here()
    await using opening = new AsyncDisposableStack()
    const docker = await startEngine(opening, opening.use(await Folder.open()), '20.10', { mirrors: [] })
    const login = (password: string) => docker('login', '-u', ANN.username, '-p', password, host)

    await expect(docker('pull', vaultName)).rejects.toThrow(REFUSED)
    await expect(login('wrong')).rejects.toThrow(REFUSED)
    expect(await login(ANN.password)).toContain('Login Succeeded')

    expect(await pulledBy(docker, vaultName)).toBe(vault.digest)
  })

  for (const [name, resolve] of Object.entries(RESOLVERS)) {
    test(`${name}: with a password it is answered, without one or with a wrong one it reads why not`, async () => {
      const { deep, deepName } = here()

      await expect(resolve(deepName)).rejects.toThrow(REFUSED)
      await expect(resolve(deepName, { ...ANN, password: 'wrong' })).rejects.toThrow(REFUSED)

      expect(await resolve(deepName, ANN)).toBe(deep.digest)
    })
  }

  for (const version of ['1.6', '2.4'] as const) {
    test(`containerd ${version}: a header in hosts.toml lets it in, and without it nothing is pulled`, async () => {
      const { house, deep } = here()
      const wanted: Wanted = { upstream: 'registry.example', repository: deep.repository, reference: `:${deep.tag}` }
      await using stranger = await openNode(house, { version, by: 'ctr' })
      const settingsOf = (url: string) => [`  [host."${url}".header]`, `    authorization = "${BASIC}"`]
      await using friend = await openNode(house, { version, by: 'ctr', settingsOf })

      await expect(stranger.pull(wanted), nameOf(wanted)).rejects.toThrow()
      expect(await friend.pull(wanted)).toContain(deep.digest)
    })
  }

  test('no name or password for Millpond was tried upstream', () => {
    expect(here().house.tokens.refused).toBe(0)
  })
})

async function pulledBy(docker: Docker, name: string): Promise<string | undefined> {
  return (await docker('pull', name)).match(/(?<=^Digest: )sha256:[0-9a-f]{64}/m)?.[0]
}
