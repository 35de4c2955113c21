import { mkdir, writeFile } from 'node:fs/promises'
import { clientEnv, run } from './command.ts'
import { Daemon } from './daemon.ts'
import type { Folder } from './folder.ts'
import { debianTool, goTool, goToolFolder } from './tools.ts'

type ContainerdVersion = '1.6' | '2.4'

export type Containerd = AsyncDisposable & {
  readonly socket: string
  /** The ctr of the same version. */
  readonly ctr: string
}

export type ContainerdOptions = {
  readonly version: ContainerdVersion
  readonly folder: Folder
  /** Where its CRI plugin finds hosts.toml files; without it there is no CRI plugin. */
  readonly hostsFolder?: string
  /** Whether layers are fetched by parallel ranges (2.1 and later). */
  readonly fetchesInParallel?: boolean
}

/** PATH for a current engine: what was built here, before Debian's. */
export const CURRENT_PATH = `${goToolFolder('containerd')}:${goToolFolder('runc')}:/usr/sbin:/usr/bin:/sbin:/bin`

/** A containerd whose root, state and sockets are below `folder`. */
export async function startContainerd(options: ContainerdOptions): Promise<Containerd> {
  const { version, folder } = options
  const isOld = version === '1.6'
  const socket = folder.join('c.sock')
  const ctr = isOld ? debianTool('ctr') : goTool('containerd', 'ctr')
  await mkdir(folder.join('opt'), { recursive: true })
  await writeFile(folder.join('containerd.toml'), isOld ? oldConfigOf(options, socket) : configOf(options, socket))
  const daemon = await Daemon.start({
    command: isOld ? debianTool('containerd') : goTool('containerd'),
    args: ['--config', folder.join('containerd.toml')],
    logFile: folder.join('containerd.log'),
    cwd: folder.path,
    env: isOld ? clientEnv() : clientEnv({ PATH: CURRENT_PATH }),
    isReady: async () => (await run(ctr, ['-a', socket, 'plugins', 'ls', '-q'], { timeoutMs: 5000 })) !== '',
  })
  return { socket, ctr, [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose]() }
}

function headOf(version: 2 | 3, { folder, hostsFolder }: ContainerdOptions, socket: string): string {
  const disabled = hostsFolder === undefined ? CRI_PLUGINS : []
  return `
version = ${version}
root = "${folder.join('root')}"
state = "${folder.join('state')}"
disabled_plugins = ${JSON.stringify(disabled)}
[grpc]
  address = "${socket}"
[ttrpc]
  address = "${socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder.join('opt')}"
`
}

const CRI_PLUGINS = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime']

function oldConfigOf(options: ContainerdOptions, socket: string): string {
  return `${headOf(2, options, socket)}
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "${options.hostsFolder ?? ''}"
`
}

/** Parallel layer fetch wants a buffer of 512 bytes and more, and more than one download at a time. */
function configOf(options: ContainerdOptions, socket: string): string {
  const { hostsFolder, fetchesInParallel = false } = options
  const transfer = `
[plugins."io.containerd.transfer.v1.local"]
  max_concurrent_downloads = 8
  concurrent_layer_fetch_buffer = ${fetchesInParallel ? 1024 * 1024 : 0}
`
  const cri = `
[plugins."io.containerd.cri.v1.images"]
  max_concurrent_downloads = 8
  concurrent_layer_fetch_buffer = ${fetchesInParallel ? 1024 * 1024 : 0}
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "${hostsFolder ?? ''}"
`
  return `${headOf(3, options, socket)}${transfer}${hostsFolder === undefined ? '' : cri}`
}
