import { writeFile } from 'node:fs/promises'
import { clientEnv, run } from './command.ts'
import type { Folder } from './folder.ts'
import { debianTool } from './tools.ts'

/** podman would raise its containers' limits above the machine's own, which a root without CAP_SYS_RESOURCE may not. */
export const PODMAN_LIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024']

/** podman with its store, its logins and its registries.conf below `folder`. */
export async function podmanIn(folder: Folder): Promise<(...args: string[]) => Promise<string>> {
  await writeFile(folder.join('auth.json'), '{}') // a login file that is named must be there
  const env = clientEnv({
    CONTAINERS_REGISTRIES_CONF: folder.join('registries.conf'),
    REGISTRY_AUTH_FILE: folder.join('auth.json'),
    HOME: folder.path,
  })
  const places = ['--root', folder.join('root'), '--runroot', folder.join('run'), '--tmpdir', folder.join('tmp')]
  const engine = ['--runtime', 'runc', '--cgroup-manager', 'cgroupfs', '--events-backend', 'file']
  return (...args) => run(debianTool('podman'), [...places, ...engine, ...args], { env })
}
