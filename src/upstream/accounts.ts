import { readFile } from 'node:fs/promises'
import picomatch from 'picomatch'
import type { AccountConfig } from '../base/config.ts'
import { OciError } from '../base/errors.ts'
import type { RepositoryPath } from '../oci/names.ts'

/** An account at an upstream; its password is read where it is used, since files change. */
export type Account = {
  /** Whose tokens are whose: several accounts may have one name (`oauth2accesstoken`, `AWS`). */
  readonly id: string
  /** The Authorization that proves it (RFC 7617). @throws {OciError} internal: its password file can't be read */
  authorization(): Promise<string>
}

/** The accounts of one upstream: the first whose patterns hold a repository is asked as, else nobody. */
export class Accounts {
  readonly #accounts: readonly { readonly account: Account; readonly isFor: (path: string) => boolean }[]

  constructor(configs: readonly AccountConfig[]) {
    this.#accounts = configs.map((config, at) => ({
      account: { id: `${at} ${config.username}`, authorization: () => authorizationOf(config) },
      isFor: picomatch([...config.repositories], { dot: true }),
    }))
  }

  find(path: RepositoryPath): Account | undefined {
    return this.#accounts.find(({ isFor }) => isFor(path))?.account
  }
}

async function authorizationOf(config: AccountConfig): Promise<string> {
  const password = config.passwordFile === undefined ? (config.password?.reveal() ?? '') : await passwordIn(config)
  return `Basic ${Buffer.from(`${config.username}:${password}`).toString('base64')}`
}

async function passwordIn({ passwordFile = '' }: AccountConfig): Promise<string> {
  try {
    return (await readFile(passwordFile, 'utf8')).replace(/\r?\n$/, '')
  } catch (error) {
    throw new OciError('internal', "the password file of the upstream's account cannot be read", { cause: error })
  }
}
