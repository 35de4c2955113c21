import { writeFile } from 'node:fs/promises'
import { type Client, nameOf, type Wanted } from './support/client.ts'
import { clientEnv, run } from './support/command.ts'
import { mirrorsOf } from './support/containers-image.ts'
import { Folder } from './support/folder.ts'
import type { House } from './support/house.ts'
import { describeClient } from './support/suite.ts'
import { debianTool } from './support/tools.ts'

describeClient({
  name: 'podman, by registries.conf',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'one by one',
  takesArtifacts: false,
  bytesRatioMax: 1.01,
  open: openPodman,
})

/** podman would raise its containers' limits above the machine's own, which a root without CAP_SYS_RESOURCE may not. */
const LIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024']

async function openPodman(house: House): Promise<Client> {
  const folder = await Folder.open()
  await writeFile(folder.join('registries.conf'), mirrorsOf(house))
  const env = clientEnv({ CONTAINERS_REGISTRIES_CONF: folder.join('registries.conf'), HOME: folder.path })
  const places = ['--root', folder.join('root'), '--runroot', folder.join('run'), '--tmpdir', folder.join('tmp')]
  const engine = ['--runtime', 'runc', '--cgroup-manager', 'cgroupfs', '--events-backend', 'file']
  const podman = (...args: string[]) => run(debianTool('podman'), [...places, ...engine, ...args], { env })
  return {
    async pull(wanted: Wanted) {
      const platform = wanted.platform === undefined ? [] : ['--platform', wanted.platform]
      await podman('pull', '--quiet', ...platform, nameOf(wanted))
      const told: readonly { RepoDigests: readonly string[] }[] = JSON.parse(
        await podman('image', 'inspect', nameOf(wanted)),
      )
      return told.flatMap(({ RepoDigests }) => RepoDigests).map((name) => name.replace(/^.*@/, ''))
    },
    run: (wanted) => podman('run', '--rm', '--network', 'none', ...LIMITS, '--pull', 'never', nameOf(wanted)),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}
