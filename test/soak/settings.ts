import type { Windows } from './judge.ts'
import type { World } from './world.ts'

const FRESH_S = 2
const STALE_S = 1
const STALE_IF_ERROR_S = 30
const NEGATIVE_S = 1
/** What a revalidation may take beyond its windows: upstream's word travels through relays that stand still. */
const ON_ITS_WAY_MS = 6_000

/** What the judge allows by these settings. */
export const WINDOWS: Windows = {
  freshMs: (FRESH_S + STALE_S) * 1000 + ON_ITS_WAY_MS,
  errorMs: (FRESH_S + STALE_IF_ERROR_S) * 1000 + ON_ITS_WAY_MS,
  negativeMs: NEGATIVE_S * 1000 + ON_ITS_WAY_MS,
}

/** The configuration file: windows and patience are short, so that all of it happens in a minute. */
export function configOf(world: World, store: string): string {
  const tags = [
    {
      ...{ match: '**', fresh: `${FRESH_S}s`, stale: `${STALE_S}s` },
      ...{ staleIfError: `${STALE_IF_ERROR_S}s`, negative: `${NEGATIVE_S}s` },
    },
  ]
  const timeouts = { connect: '1s', headers: '4s', idle: '3s' }
  const account = { username: 'bot', password: world.canaries.account, repositories: ['held/**'] }
  const upstreams = [...world.hosts].map(([host, { relays }]) => [
    host,
    {
      ...{ endpoints: relays.map(({ origin }) => origin), tags, timeouts },
      ...(host === 'plain.test' && { default: true }),
      ...(host === 'token.test' && { accounts: [account], private: ['mine/**'] }),
    },
  ])
  const config = {
    ...{ listen: '127.0.0.1:0', admin: { listen: '127.0.0.1:0' }, wellKnown: false },
    ...{ disk: { folder: store, cap: '90%' }, log: { level: 'debug', format: 'json' } },
    upstreams: Object.fromEntries(upstreams),
  }
  return `${JSON.stringify(config, null, 2)}\n`
}
