import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { configSchema } from '../../src/base/config.ts'
import { contradictionsIn } from '../../src/base/config-checks.ts'
import { run } from './support/command.ts'
import { Folder } from './support/folder.ts'
import { goTool, KUBERNETES_VALIDATE_VERSION, kubernetesValidate } from './support/tools.ts'

const CHART = fileURLToPath(new URL('../../helm/millpond', import.meta.url))
const KUBERNETES = KUBERNETES_VALIDATE_VERSION.replace(/\.\d+$/, '')

/** Values as operators set them. */
const VALUES = {
  'the defaults': [],
  'a hostPort': ['reach.kind=hostPort', 'reach.hostPort=5000'],
  'a load balancer and three replicas': ['reach.kind=LoadBalancer', 'replicas=3'],
  'a ClusterIP, an account and TLS': [
    'reach.kind=ClusterIP',
    'tls.secret=millpond-tls',
    'accounts[0].upstream=docker.io',
    'accounts[0].username=bot',
    'accounts[0].secret.name=docker-hub',
    'accounts[0].secret.key=password',
  ],
  'a door of its own': ['config.access.mode=htpasswd', 'config.access.htpasswd=/run/millpond/access/htpasswd'],
  'client certificates': [
    'tls.secret=millpond-tls',
    'config.access.mode=mtls',
    'config.access.ca=/run/millpond/access/ca.crt',
    'extraVolumes[0].name=access',
    'extraVolumes[0].secret.secretName=millpond-access',
    'extraVolumeMounts[0].name=access',
    'extraVolumeMounts[0].mountPath=/run/millpond/access',
  ],
  'private repositories, bounds and a rate': [
    'config.publicUrl=https://millpond.example',
    'config.upstreams.registry\\.example.private[0]=team-*/**',
    'config.limits.connections=100',
    'config.disk.scrub=off',
  ],
} as const

type Resource = { readonly kind: string; readonly data?: Readonly<Record<string, string>> }

for (const [name, values] of Object.entries(VALUES)) {
  const sets = values.flatMap((value) => ['--set', value])

  test(`the chart with ${name} passes the linter and Kubernetes ${KUBERNETES}'s schemas`, async () => {
    await using folder = await Folder.open()
    const file = folder.join('chart.yaml')

    await run(goTool('helm'), ['lint', '--strict', CHART, ...sets])
    await writeFile(file, await run(goTool('helm'), ['template', 'pond', CHART, ...sets]))

    await run(kubernetesValidate(), ['--strict', '--kubernetes-version', KUBERNETES, file])
  })

  test(`the chart with ${name} writes a configuration that Millpond takes`, async () => {
    const rendered = await run(goTool('helm'), ['template', 'pond', CHART, ...sets])

    const resources = parseAllDocuments(rendered).map((document): Resource => document.toJS())
    const [text = ''] = resources.flatMap(({ kind, data }) => (kind === 'ConfigMap' ? Object.values(data ?? {}) : []))

    // By the schema: the passwords' files are in the pod alone.
    expect(contradictionsIn(configSchema.parse(parse(text)))).toEqual([])
  })
}

test("the chart's notes tell what to write into the nodes' hosts.toml", async () => {
  const sets = ['--set', 'reach.address=http://10.0.0.5:30500']

  const notes = await run(goTool('helm'), ['install', 'pond', CHART, '--dry-run=client', ...sets])

  expect(notes).toContain('hosts.toml')
  expect(notes).toContain('[host."http://10.0.0.5:30500"]')
})
