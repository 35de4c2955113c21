import { accessSync, constants } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** What the suites take from Debian 12, at its versions; the engines among them are the old ones on purpose. */
export const DEBIAN_PACKAGES = [
  'busybox-static',
  'ca-certificates',
  'containerd',
  'docker-registry',
  'docker.io',
  'fuse-overlayfs',
  'gcc',
  'iptables',
  'libc6-dev',
  'libfaketime',
  'openssl',
  'podman',
  'python3',
  'python3-venv',
  'runc',
  'skopeo',
  'strace',
] as const

export type GoTool = {
  readonly name: string
  readonly module: string
  readonly version: string
  /** Below the module; '' is the module itself. */
  readonly packages: readonly string[]
  readonly tags?: string
}

/** What Debian lacks or has too old. The small ones first: a broken network shows early. */
export const GO_TOOLS: readonly GoTool[] = [
  { name: 'oras', module: 'oras.land/oras', version: 'v1.3.6', packages: ['cmd/oras'] },
  { name: 'crane', module: 'github.com/google/go-containerregistry', version: 'v0.22.1', packages: ['cmd/crane'] },
  { name: 'runc', module: 'github.com/opencontainers/runc', version: 'v1.5.2', packages: [''] },
  { name: 'crictl', module: 'sigs.k8s.io/cri-tools', version: 'v1.37.0', packages: ['cmd/crictl'] },
  {
    name: 'containerd',
    module: 'github.com/containerd/containerd/v2',
    version: 'v2.4.2',
    packages: ['cmd/containerd', 'cmd/ctr', 'cmd/containerd-shim-runc-v2'],
    tags: 'no_btrfs',
  },
  {
    name: 'dockerd',
    module: 'github.com/moby/moby/v2',
    version: 'v2.0.0-beta.24',
    packages: ['cmd/dockerd'],
    tags: 'no_btrfs exclude_graphdriver_btrfs journald_off',
  },
  { name: 'helm', module: 'helm.sh/helm/v4', version: 'v4.3.1', packages: ['cmd/helm'] },
]

export const KUBERNETES_VALIDATE_VERSION = '1.37.0'

/** Outside the checkout, so that a second run finds what the first one built. */
export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'millpond-e2e')
}

export function toolFolder(name: string, version: string): string {
  return join(cacheFolder(), `${name}-${version}`)
}

/**
 * The folder with what was built from `name`'s module.
 *
 * @throws {Error} when the installer doesn't know it
 */
export function goToolFolder(name: string): string {
  const tool = GO_TOOLS.find((known) => known.name === name)
  if (tool === undefined) throw new Error(`the installer knows no tool named ${name}`)
  return toolFolder(tool.name, tool.version)
}

/**
 * The path of a program that the installer built.
 *
 * @throws {Error} when it isn't there: a suite fails, it never skips
 */
export function goTool(name: string, program = name): string {
  return existing(join(goToolFolder(name), program))
}

/** The path of a program from a Debian package. Absolute, so that no other version in PATH takes its place. */
export function debianTool(program: string): string {
  return existing(`/usr/bin/${program}`, `/usr/sbin/${program}`)
}

export function kubernetesValidate(): string {
  return existing(join(toolFolder('kubernetes-validate', KUBERNETES_VALIDATE_VERSION), 'bin', 'kubernetes-validate'))
}

function existing(...paths: readonly string[]): string {
  for (const path of paths) {
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // the next one is tried
    }
  }
  throw new Error(`${paths.join(' and ')} missing: run "npm run test:e2e", which installs it`)
}
