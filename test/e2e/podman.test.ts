import { writeFile } from 'node:fs/promises'
import { type Client, nameOf, type Wanted } from './support/client.ts'
import { mirrorsOf } from './support/containers-image.ts'
import { Folder } from './support/folder.ts'
import type { House } from './support/house.ts'
import { PODMAN_LIMITS, podmanIn } from './support/podman.ts'
import { describeClient } from './support/suite.ts'

describeClient({
  name: 'podman, by registries.conf',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'one by one',
  takesArtifacts: false,
  bytesRatioMax: 1.01,
  open: openPodman,
})

async function openPodman(house: House): Promise<Client> {
  const folder = await Folder.open()
  await writeFile(folder.join('registries.conf'), mirrorsOf(house))
  const podman = await podmanIn(folder)
  return {
    async pull(wanted: Wanted) {
      const platform = wanted.platform === undefined ? [] : ['--platform', wanted.platform]
      await podman('pull', '--quiet', ...platform, nameOf(wanted))
      const told: readonly { RepoDigests: readonly string[] }[] = JSON.parse(
        await podman('image', 'inspect', nameOf(wanted)),
      )
      return told.flatMap(({ RepoDigests }) => RepoDigests).map((name) => name.replace(/^.*@/, ''))
    },
    run: (wanted) => podman('run', '--rm', '--network', 'none', ...PODMAN_LIMITS, '--pull', 'never', nameOf(wanted)),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}
