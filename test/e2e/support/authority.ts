import { writeFile } from 'node:fs/promises'
import { run } from './command.ts'
import type { Folder } from './folder.ts'
import { debianTool } from './tools.ts'

type Pair = { readonly cert: string; readonly key: string }

/** Files in PEM: an authority, and what it signed. */
export type Authority = { readonly ca: string; readonly server: Pair; readonly client: Pair }

const EXTENSIONS = `
[server]
subjectAltName = IP:127.0.0.1
extendedKeyUsage = serverAuth
[client]
extendedKeyUsage = clientAuth
`

/** A new authority below `folder`, with a server's certificate for 127.0.0.1 and a client's. */
export async function authorityIn(folder: Folder): Promise<Authority> {
  const openssl = (...args: string[]) => run(debianTool('openssl'), args, { cwd: folder.path })
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  await writeFile(folder.join('extensions.cnf'), EXTENSIONS)
  const own = ['-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=authority.e2e']
  await openssl('req', '-x509', ...curve, ...own)
  const sign = async (name: 'server' | 'client') => {
    await openssl('req', ...curve, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}.e2e`)
    const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2']
    const how = ['-extfile', 'extensions.cnf', '-extensions', name]
    await openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.crt`, ...by, ...how)
    return { cert: folder.join(`${name}.crt`), key: folder.join(`${name}.key`) }
  }
  return { ca: folder.join('ca.crt'), server: await sign('server'), client: await sign('client') }
}
