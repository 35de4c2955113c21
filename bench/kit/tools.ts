import { execFile, execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

/** The Debian package that brings each program; /usr/sbin is not on every user's path. */
const PACKAGE_OF = { nginx: 'nginx-core', 'docker-registry': 'docker-registry', wrk: 'wrk' } as const
export type Tool = keyof typeof PACKAGE_OF

function findTool(tool: Tool): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return folders.map((folder) => join(folder, tool)).find((path) => existsSync(path))
}

/** The program's path. @throws {Error} naming the package when it is missing */
export function toolPath(tool: Tool): string {
  const path = findTool(tool)
  if (path === undefined) throw new Error(`${tool} is missing: apt-get install ${PACKAGE_OF[tool]}`)
  return path
}

/** Installs from Debian what is missing, or says what is missing and how to get it. */
export function installTools(): void {
  const missing = (Object.keys(PACKAGE_OF) as Tool[]).filter((tool) => findTool(tool) === undefined)
  if (missing.length === 0) return
  const packages = missing.map((tool) => PACKAGE_OF[tool])
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(`missing: ${missing.join(', ')}. On Debian, as root: ${command}`)
  }
  // RUNLEVEL=1: invoke-rc.d then starts none of the services that these packages bring
  const env = { ...process.env, RUNLEVEL: '1', DEBIAN_FRONTEND: 'noninteractive' }
  console.error(`bench: ${command}`)
  execFileSync('sh', ['-c', `apt-get update -qq && ${command}`], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  for (const tool of missing) toolPath(tool)
}

/** `nginx version: nginx/1.22.1` and the like, for the record beside the figures. */
export async function versionOf(tool: Tool): Promise<string> {
  const flag = tool === 'docker-registry' ? '--version' : '-v'
  const ended = await promisify(execFile)(toolPath(tool), [flag]).catch((error) => error) // wrk -v exits with 1
  const said = `${ended.stdout ?? ''}${ended.stderr ?? ''}`
  return /[0-9]+\.[0-9]+\.[0-9a-z.+-]+/.exec(said)?.[0] ?? 'unknown'
}
