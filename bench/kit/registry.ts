import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort, ServerProcess } from './processes.ts'
import { toolPath } from './tools.ts'

/** Debian's docker-registry as a proxy, with the settings of its manual and one access line a request. */
export async function startRegistry(o: { folder: string; upstreamPort: number }): Promise<ServerProcess> {
  const port = await freePort()
  await mkdir(o.folder, { recursive: true })
  const configPath = join(o.folder, 'config.yml')
  await writeFile(
    configPath,
    `version: 0.1
log: { level: warn }
storage:
  cache: { blobdescriptor: inmemory }
  filesystem: { rootdirectory: ${o.folder}/data }
http: { addr: '127.0.0.1:${port}', secret: bench }
proxy: { remoteurl: 'http://127.0.0.1:${o.upstreamPort}' }
`,
  )
  const command = [toolPath('docker-registry'), 'serve', configPath] as const
  const server = new ServerProcess(port, command, { logPath: join(o.folder, 'log') })
  await server.answering()
  return server
}
