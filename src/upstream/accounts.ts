import { readFile } from 'node:fs/promises'
import type { Caller } from '../base/caller.ts'
import type { AccountConfig } from '../base/config.ts'
import { OciError } from '../base/errors.ts'
import { matcherOf } from '../base/patterns.ts'
import type { RepositoryPath } from '../oci/names.ts'

/** An account at an upstream; its password is read where it is used, since files change. */
export type Account = {
  /** Whose tokens are whose: several accounts may have one name (`oauth2accesstoken`, `AWS`). */
  readonly id: string
  /** The Authorization that proves it (RFC 7617). @throws {OciError} internal: its password file can't be read */
  authorization(): Promise<string>
}

/** A caller's own credentials. */
export const accountOf = ({ id, username, password }: Caller): Account => ({
  id,
  authorization: async () => basicOf(username, password.reveal()),
})

/**
 * The accounts of one upstream: the first whose patterns hold a repository is asked as, else nobody; and nobody for
 * what is private: an account of ours would show it to everyone.
 */
export class Accounts {
  readonly #isPrivate: (path: RepositoryPath) => boolean
  readonly #accounts: readonly { readonly account: Account; readonly isFor: (path: string) => boolean }[]

  constructor(configs: readonly AccountConfig[], isPrivate: (path: RepositoryPath) => boolean) {
    this.#isPrivate = isPrivate
    this.#accounts = configs.map((config, at) => ({
      account: { id: `${at} ${config.username}`, authorization: () => authorizationOf(config) },
      isFor: matcherOf(config.repositories),
    }))
  }

  find(path: RepositoryPath): Account | undefined {
    if (this.#isPrivate(path)) return undefined
    return this.#accounts.find(({ isFor }) => isFor(path))?.account
  }
}

async function authorizationOf(config: AccountConfig): Promise<string> {
  const password = config.passwordFile === undefined ? (config.password?.reveal() ?? '') : await passwordIn(config)
  return basicOf(config.username, password)
}

const basicOf = (username: string, password: string): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`

async function passwordIn({ passwordFile = '' }: AccountConfig): Promise<string> {
  try {
    return (await readFile(passwordFile, 'utf8')).replace(/\r?\n$/, '')
  } catch (error) {
    throw new OciError('internal', "the password file of the upstream's account cannot be read", { cause: error })
  }
}
