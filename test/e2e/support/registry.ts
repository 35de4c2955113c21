import { writeFile } from 'node:fs/promises'
import { stringify } from 'yaml'
import { Daemon, freePort } from './daemon.ts'
import type { Folder } from './folder.ts'
import { ISSUER, SERVICE, type TokenServer } from './token-server.ts'
import { debianTool } from './tools.ts'

export type Registry = AsyncDisposable & { readonly port: number }

/** Debian's docker-registry 2.8.2, which answers nobody without a token of `tokens`. */
export async function startRegistry(folder: Folder, tokens: TokenServer): Promise<Registry> {
  const port = await freePort()
  const configFile = folder.join('registry.yml')
  await writeFile(configFile, stringify(configOf(folder, tokens, port)))
  const daemon = await Daemon.start({
    command: debianTool('docker-registry'),
    args: ['serve', configFile],
    logFile: folder.join('registry.log'),
    isReady: async () => (await fetch(`http://127.0.0.1:${port}/v2/`)).status === 401,
  })
  return { port, [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose]() }
}

function configOf(folder: Folder, tokens: TokenServer, port: number): object {
  const { realm, certificateFile } = tokens
  return {
    version: '0.1',
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: folder.join('registry') } },
    http: { addr: `127.0.0.1:${port}`, secret: 'e2e' },
    auth: { token: { realm, service: SERVICE, issuer: ISSUER, rootcertbundle: certificateFile } },
  }
}
