import { clientEnv, run } from './command.ts'
import { Folder } from './folder.ts'
import { debianTool, goTool } from './tools.ts'

type Account = { readonly username: string; readonly password: string }

/** The digest that a client says a name has, asked for as somebody or as nobody, each time with no login of before. */
export type Resolve = (name: string, account?: Account) => Promise<string>

/** crane, which logs in before. */
const byCrane: Resolve = async (name, account) => {
  await using folder = await Folder.open()
  const crane = (...args: string[]) => run(goTool('crane'), args, { env: envIn(folder) })
  const host = name.replace(/\/.*/, '')
  if (account) await crane('auth', 'login', host, '-u', account.username, '-p', account.password)
  return (await crane('digest', name)).trim()
}

const bySkopeo: Resolve = async (name, account) => {
  await using folder = await Folder.open()
  const who = account ? ['--creds', `${account.username}:${account.password}`] : ['--no-creds']
  const args = ['inspect', '--tls-verify=false', ...who, `docker://${name}`]
  return JSON.parse(await run(debianTool('skopeo'), args, { env: envIn(folder) })).Digest
}

const byOras: Resolve = async (name, account) => {
  await using folder = await Folder.open()
  const who = account ? ['-u', account.username, '-p', account.password] : []
  return (await run(goTool('oras'), ['resolve', '--plain-http', name, ...who], { env: envIn(folder) })).trim()
}

const envIn = (folder: Folder) => clientEnv({ HOME: folder.path, DOCKER_CONFIG: folder.path })

export const RESOLVERS = { crane: byCrane, skopeo: bySkopeo, oras: byOras } as const
