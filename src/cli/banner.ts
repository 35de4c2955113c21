import { hostname } from 'node:os'
import type { AccessConfig, Config, Listen, UpstreamConfig } from '../base/config.ts'
import { listenText } from '../base/listening.ts'
import { durationText, sizeText } from '../base/units.ts'
import { versionOf } from '../base/version.ts'
import type { ServerFacts } from '../server.ts'

/** What a person wants to know of a server that has just begun, in a few lines. */
export function banner(config: Config, facts: ServerFacts): string {
  const url = urlOf(facts.listen, facts.isTls)
  const [first, ...more] = facts.upstreams
  const rows: (readonly [string, string])[] = [
    ['serves', `${facts.isTls ? 'https' : 'http'}://${listenText(facts.listen)}`],
    ['keeps', `${facts.folder}, at most ${capText(config, facts)}; now ${sizeText(facts.usedBytes)}`],
    ['from', facts.upstreams.length === 0 ? 'nowhere' : `${first}${more.length > 0 ? `, ${more.join(', ')}` : ''}`],
    ...(facts.admin ? [['health', `http://${listenText(facts.admin)}/readyz, numbers at /metrics`] as const] : []),
    ['access', ACCESS_TEXT[config.access.mode](config.access)],
    ...Object.entries(config.upstreams).flatMap(([name, upstream]) =>
      accountRows(name, upstream, config.access.mode === 'open' ? 'reaches Millpond' : 'is let in'),
    ),
    ...Object.entries(config.upstreams).flatMap(([name, upstream]) => privateRows(name, upstream)),
    howTo(config, url),
  ]
  const body = rows.map(([name, text]) => `  ${name.padEnd(9)}${text}`).join('\n')
  return `Millpond ${versionOf()}, started in ${durationText(facts.startMs)}\n${body}\n`
}

const ACCESS_TEXT = {
  open: () => 'open: whoever reaches this port is served',
  htpasswd: ({ htpasswd }: AccessConfig) => `a name and a password of ${htpasswd}, for every request`,
  mtls: ({ ca }: AccessConfig) => `a client certificate of an authority in ${ca}, for every request`,
} as const

/** A mirror of dockerd's gives no password, and where one is asked for it would send what it has for Docker Hub. */
function howTo({ access, publicUrl, upstreams }: Config, url: string): readonly [string, string] {
  const isAsking = access.mode === 'htpasswd' || Object.values(upstreams).some((each) => each.private.length > 0)
  if (isAsking) return ['docker', `docker login ${publicUrl ?? url}`]
  return ['dockerd', `put this into /etc/docker/daemon.json: {"registry-mirrors": ["${url}"]}`]
}

function capText({ disk }: Config, { capBytes }: ServerFacts): string {
  const size = sizeText(capBytes)
  return 'ofVolume' in disk.cap ? `${size} (${Number((disk.cap.ofVolume * 100).toFixed(1))} % of the volume)` : size
}

/** How a docker daemon reaches it: one on this machine, where no address says more. */
function urlOf({ host, port }: Listen, isTls: boolean): string {
  const isAny = host === '0.0.0.0' || host === '::'
  if (isTls) return `https://${isAny ? hostname() : listenText({ host, port }).replace(/:\d+$/, '')}:${port}`
  return `http://${listenText({ host: isAny ? '127.0.0.1' : host, port })}`
}

/** An account shares what it may read with everyone who is served: said, so that nobody is surprised. */
const accountRows = (name: string, { accounts }: UpstreamConfig, who: string): (readonly [string, string])[] =>
  accounts.map(({ username, repositories }) => [
    'account',
    `${username} at ${name}: whoever ${who} may read ${repositories.join(', ')} there as it does`,
  ])

const privateRows = (name: string, { private: patterns }: UpstreamConfig): (readonly [string, string])[] =>
  patterns.length === 0
    ? []
    : [['private', `${patterns.join(', ')} at ${name}: only to those whose own credentials upstream accepts`]]
