import { mkdir, writeFile } from 'node:fs/promises'
import { type Client, nameOf, type Wanted } from './client.ts'
import { clientEnv, run } from './command.ts'
import { type Containerd, type ContainerdOptions, startContainerd } from './containerd.ts'
import { Folder } from './folder.ts'
import type { House } from './house.ts'
import { goTool } from './tools.ts'

const NAMESPACE = 'e2e'

export type NodeOptions = Pick<ContainerdOptions, 'version' | 'fetchesInParallel'> & {
  readonly by: 'ctr' | 'crictl'
  /** What its hosts.toml files say of Millpond besides, given the URL that they name it by. */
  readonly settingsOf?: (url: string) => readonly string[]
}

/** A node with containerd whose hosts.toml files name Millpond, asked by ctr or, through CRI, by crictl. */
export async function openNode(house: House, options: NodeOptions): Promise<Client> {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await Folder.open())
  const hostsFolder = folder.join('certs.d')
  await writeHosts(hostsFolder, house, options.settingsOf ?? (() => []))
  const containerd = opening.use(await startContainerd({ ...options, folder, hostsFolder }))
  const client = options.by === 'ctr' ? ctrOf(containerd, hostsFolder, house) : crictlOf(containerd, folder)
  const opened = opening.move()
  return { ...client, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

/**
 * Docker Hub by a path and `ns`, as containerd's documents have it for mirrors that know no `ns`; any other upstream by
 * `ns` alone. Docker Hub's `server` is a closed port, as the proxy for all others is: nothing goes past Millpond.
 */
async function writeHosts(
  hostsFolder: string,
  house: House,
  settingsOf: (url: string) => readonly string[],
): Promise<void> {
  const { url } = house.millpond
  const capabilities = '  capabilities = ["pull", "resolve"]'
  const hosts = {
    _default: [`[host."${url}"]`, capabilities, ...settingsOf(url)],
    'docker.io': [
      'server = "http://127.0.0.1:9"',
      `[host."${url}/v2/docker.io"]`,
      capabilities,
      '  override_path = true',
      ...settingsOf(`${url}/v2/docker.io`),
    ],
  }
  for (const [upstream, lines] of Object.entries(hosts)) {
    await mkdir(`${hostsFolder}/${upstream}`, { recursive: true })
    await writeFile(`${hostsFolder}/${upstream}/hosts.toml`, `${lines.join('\n')}\n`)
  }
}

function ctrOf({ ctr, socket }: Containerd, hostsFolder: string, house: House): Pick<Client, 'pull' | 'run'> {
  const call = (...args: string[]) => run(ctr, ['-a', socket, '-n', NAMESPACE, ...args])
  const { notes } = house.catalogue
  return {
    async pull(wanted: Wanted) {
      const name = nameOf(wanted)
      const platform = wanted.platform === undefined ? [] : ['--platform', wanted.platform]
      // What is no image can't be unpacked, so its content alone is fetched.
      const how = wanted.repository === notes.repository ? ['content', 'fetch'] : ['images', 'pull', ...platform]
      await call(...how, '--hosts-dir', hostsFolder, name)
      return (await call('images', 'ls', `name==${name}`)).match(/sha256:[0-9a-f]{64}(?=\s)/g) ?? []
    },
    run: (wanted) => call('run', '--rm', nameOf(wanted), 'proof'),
  }
}

function crictlOf({ socket }: Containerd, folder: Folder): Pick<Client, 'pull'> {
  const endpoint = `unix://${socket}`
  const ends = ['--config', folder.join('crictl.yaml'), '--runtime-endpoint', endpoint, '--image-endpoint', endpoint]
  const call = (...args: string[]) =>
    run(goTool('crictl'), [...ends, ...args], { env: clientEnv({ HOME: folder.path }) })
  return {
    async pull(wanted: Wanted) {
      await writeFile(folder.join('crictl.yaml'), 'timeout: 60\n')
      await call('pull', nameOf(wanted))
      const told: { status: { repoDigests: readonly string[] } } = JSON.parse(
        await call('inspecti', '-o', 'json', nameOf(wanted)),
      )
      return told.status.repoDigests.map((name) => name.replace(/^.*@/, ''))
    },
  }
}
