/*
 * The e2e suite's installer, run by `npm run test:e2e` before the suites: Debian's packages, then pinned builds by
 * `go install` into a cache folder outside the checkout. What can't be installed ends the run: nothing is skipped.
 */
import { execFile, spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { arch } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  cacheFolder,
  DEBIAN_PACKAGES,
  GO_TOOLS,
  type GoTool,
  KUBERNETES_VALIDATE_VERSION,
  toolFolder,
} from './tools.ts'

const POLICY_FILE = '/usr/sbin/policy-rc.d'

await install()

async function install(): Promise<void> {
  if (process.getuid?.() !== 0) fail('the e2e suite starts daemons and mounts: run it as root')
  if (arch() !== 'x64') fail(`the e2e suite is proven on x64 alone, this is ${arch()}`)
  await installDebianPackages()
  await promisify(execFile)('go', ['version']).catch(() =>
    fail('go is not in PATH: the current engines are built with it'),
  )
  for (const tool of GO_TOOLS) await installGoTool(tool)
  await installKubernetesValidate()
}

async function installDebianPackages(): Promise<void> {
  const missing: string[] = []
  for (const name of DEBIAN_PACKAGES) if (!(await isInstalled(name))) missing.push(name)
  if (missing.length === 0) return

  tell(`apt-get install ${missing.join(' ')}`)
  const ownsPolicy = !(await exists(POLICY_FILE))
  // Debian starts a daemon when its package is unpacked, unless this file says no: the suites start their own.
  if (ownsPolicy) await writeFile(POLICY_FILE, '#!/bin/sh\nexit 101\n')
  if (ownsPolicy) await chmod(POLICY_FILE, 0o755)
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    await run('apt-get', ['-q', 'update'], env)
    await run('apt-get', ['-q', 'install', '-y', '--no-install-recommends', ...missing], env)
  } finally {
    if (ownsPolicy) await rm(POLICY_FILE)
  }
}

async function isInstalled(name: string): Promise<boolean> {
  try {
    const told = await promisify(execFile)('dpkg-query', ['-s', name])
    return told.stdout.includes('\nStatus: install ok installed\n')
  } catch {
    return false // dpkg-query knows no such package, so apt-get is asked
  }
}

/** Built beside its place and renamed there, so that a build which was cut short is never taken for a tool. */
async function installGoTool(tool: GoTool): Promise<void> {
  const folder = toolFolder(tool.name, tool.version)
  if (await exists(folder)) return
  await mkdir(cacheFolder(), { recursive: true })
  const building = await mkdtemp(join(cacheFolder(), 'building-'))
  const packages = tool.packages.map((path) => `${tool.module}${path && '/'}${path}@${tool.version}`)
  const tags = tool.tags === undefined ? [] : ['-tags', tool.tags]
  tell(`go install ${packages.join(' ')}`)
  try {
    await run('nice', ['-n', '19', 'go', 'install', ...tags, ...packages], { ...process.env, GOBIN: building })
    await chmod(building, 0o755)
    await rename(building, folder)
  } finally {
    await rm(building, { recursive: true, force: true })
  }
}

async function installKubernetesValidate(): Promise<void> {
  const folder = toolFolder('kubernetes-validate', KUBERNETES_VALIDATE_VERSION)
  const done = join(folder, 'installed') // a venv can't be moved, so its completeness is noted within
  if (await exists(done)) return
  tell(`pip install kubernetes-validate==${KUBERNETES_VALIDATE_VERSION}`)
  await rm(folder, { recursive: true, force: true })
  await run('/usr/bin/python3', ['-m', 'venv', folder], process.env)
  const pip = ['-q', 'install', '--disable-pip-version-check', `kubernetes-validate==${KUBERNETES_VALIDATE_VERSION}`]
  await run(join(folder, 'bin', 'pip'), pip, process.env)
  await writeFile(done, '')
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}

/** Output goes straight to ours: a build of minutes that prints nothing looks hung. */
async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn(command, args, { env, stdio: ['ignore', 'inherit', 'inherit'] })
  const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('exit', resolve))
  if (code !== 0) fail(`${command} ${args.join(' ')} ended with ${code}`)
}

function tell(sentence: string): void {
  process.stdout.write(`e2e: ${sentence}\n`)
}

function fail(sentence: string): never {
  process.stderr.write(`e2e: ${sentence}\n`)
  process.exit(1)
}
