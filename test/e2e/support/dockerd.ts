import { mkdir, writeFile } from 'node:fs/promises'
import { type Client, nameOf, prefixedNameOf, type Wanted } from './client.ts'
import { clientEnv, run } from './command.ts'
import { CURRENT_PATH, startContainerd } from './containerd.ts'
import { Daemon } from './daemon.ts'
import { Folder } from './folder.ts'
import type { House } from './house.ts'
import { debianTool, goTool } from './tools.ts'

export type DockerdOptions = {
  /** Debian's, with overlay2; or a current one, with containerd's image store. */
  readonly engine: '20.10' | 'current'
  readonly way: Way
}

/** How it is led to Millpond: by `registry-mirrors`, the same with a path, hosts.toml, or the name that is pulled. */
type Way = 'mirror' | 'mirror with a path' | 'hosts.toml' | 'prefix'

/** A dockerd of its own below a folder of its own, asked by Debian's docker. */
export async function openDockerd(house: House, { engine, way }: DockerdOptions): Promise<Client> {
  await using opening = new AsyncDisposableStack()
  const folder = opening.use(await Folder.open())
  const docker = await startEngine(opening, folder, engine, await settingsOf(folder, house, way))
  const name = (wanted: Wanted) => (way === 'prefix' ? prefixedNameOf(wanted, house) : nameOf(wanted))
  const opened = opening.move()
  return {
    async pull(wanted) {
      const platform = wanted.platform === undefined ? [] : ['--platform', wanted.platform]
      // RepoDigests won't do: 20.10 leaves it empty for the second platform of one index.
      return (await docker('pull', ...platform, name(wanted))).match(/(?<=^Digest: )sha256:[0-9a-f]{64}/gm) ?? []
    },
    // In a namespace of its own it can't show a container's files to containerd.
    ...(way !== 'hosts.toml' && { run: (wanted: Wanted) => runOf(docker, name(wanted)) }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** Asks a daemon of one's own, as docker's command does. */
export type Docker = (...args: string[]) => Promise<string>

type EngineSettings = {
  readonly mirrors: readonly string[]
  /** The folder that is to stand for /etc/docker, if one is. */
  readonly etc?: string | undefined
}

/** A dockerd whose all is below `folder`. */
export async function startEngine(
  opening: AsyncDisposableStack,
  folder: Folder,
  engine: DockerdOptions['engine'],
  { mirrors, etc }: EngineSettings,
): Promise<Docker> {
  // The runc that is built here knows no seccomp, which its build leaves out by default.
  const profile = engine === 'current' ? { 'seccomp-profile': 'unconfined' } : {}
  await writeFile(folder.join('daemon.json'), JSON.stringify({ 'registry-mirrors': mirrors, ...profile }))
  return (engine === '20.10' ? startOld : startCurrent)(opening, folder, etc)
}

const runOf = (docker: Docker, name: string) => docker('run', '--rm', '--network', 'none', '--pull', 'never', name)

type Etc = EngineSettings['etc']

async function settingsOf(folder: Folder, house: House, way: Way): Promise<EngineSettings> {
  const { url } = house.millpond
  const mirrors = { mirror: [url], 'mirror with a path': [`${url}/docker.io`], 'hosts.toml': [], prefix: [] }[way]
  for (const upstream of way === 'hosts.toml' ? Object.keys(house.fronts) : []) {
    await mkdir(folder.join('etc', 'certs.d', upstream), { recursive: true })
    const hosts = `[host."${url}"]\n  capabilities = ["pull", "resolve"]\n`
    await writeFile(folder.join('etc', 'certs.d', upstream, 'hosts.toml'), hosts)
  }
  return { mirrors, etc: way === 'hosts.toml' ? folder.join('etc') : undefined }
}

async function startOld(opening: AsyncDisposableStack, folder: Folder): Promise<Docker> {
  const docker = dockerOf(folder)
  opening.use(
    await Daemon.start({
      command: debianTool('dockerd'),
      args: [...placesOf(folder), '--storage-driver', 'overlay2'],
      logFile: folder.join('dockerd.log'),
      cwd: folder.path,
      isReady: async () => (await docker('info', '--format', '{{.Driver}}')).trim() === 'overlay2',
    }),
  )
  return docker
}

/** Its hosts.toml files are below /etc/docker alone: it gets one of its own there, in a mount namespace of its own. */
async function startCurrent(opening: AsyncDisposableStack, folder: Folder, etc: Etc): Promise<Docker> {
  const docker = dockerOf(folder)
  const containerd = opening.use(await startContainerd({ version: '2.4', folder }))
  const store = ['--containerd', containerd.socket, '--storage-driver', 'overlayfs']
  opening.use(
    await Daemon.start({
      command: debianTool('env'),
      args: [...(etc === undefined ? [] : withEtc(etc)), goTool('dockerd'), ...placesOf(folder), ...store],
      logFile: folder.join('dockerd.log'),
      cwd: folder.path,
      // Debian's docker is of 2020: a current daemon answers it only where it is told to.
      env: clientEnv({ PATH: CURRENT_PATH, DOCKER_MIN_API_VERSION: '1.24' }),
      isReady: async () => (await docker('info', '--format', '{{.Driver}}')).trim() === 'overlayfs',
    }),
  )
  return docker
}

function withEtc(etc: string): readonly string[] {
  const script = 'mkdir -p /etc/docker && mount --bind "$0" /etc/docker && exec "$@"'
  return [debianTool('unshare'), '--mount', 'sh', '-c', script, etc]
}

/** No network of its own, no rule in the machine's firewall. */
function placesOf(folder: Folder): readonly string[] {
  return [
    ...['--host', `unix://${folder.join('d.sock')}`, '--pidfile', folder.join('d.pid')],
    ...['--data-root', folder.join('data'), '--exec-root', folder.join('exec')],
    ...['--config-file', folder.join('daemon.json')],
    ...['--iptables=false', '--ip6tables=false', '--bridge=none'],
  ]
}

function dockerOf(folder: Folder): Docker {
  const env = clientEnv({ DOCKER_HOST: `unix://${folder.join('d.sock')}`, DOCKER_CONFIG: folder.path })
  return (...args) => run(debianTool('docker'), args, { env })
}
