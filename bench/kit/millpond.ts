import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort, ServerProcess } from './processes.ts'

const ROOT = join(import.meta.dirname, '..', '..')

export type MillpondOptions = {
  readonly folder: string
  readonly upstreamPort: number
  /** How long a tag is fresh, such as `1s`; left out: the default. */
  readonly fresh?: string
}

/** Millpond as `npm start` runs it, with its log and metrics on. */
export async function startMillpond(o: MillpondOptions): Promise<ServerProcess> {
  const port = await freePort()
  const adminPort = await freePort()
  await mkdir(o.folder, { recursive: true })
  const configPath = join(o.folder, 'millpond.yaml')
  const tags = o.fresh === undefined ? '' : `\n    tags: [{ match: '**', fresh: ${o.fresh}, stale: 0s }]`
  await writeFile(
    configPath,
    `listen: 127.0.0.1:${port}
admin: { listen: '127.0.0.1:${adminPort}' }
disk: { folder: ${o.folder}/data, cap: 30GiB }
upstreams:
  docker.io:
    default: true
    endpoints: ['http://127.0.0.1:${o.upstreamPort}']${tags}
`,
  )
  const profile = process.env['BENCH_PROFILE'] // a folder: a CPU profile of each Millpond, written when it stops
  const profiling = !profile ? [] : ['--cpu-prof', '--cpu-prof-dir', profile]
  const command = [process.execPath, ...profiling, 'src/main.ts', 'serve', '--config', configPath] as const
  const server = new ServerProcess(port, command, { logPath: join(o.folder, 'log'), cwd: ROOT })
  await server.answering()
  return server
}
