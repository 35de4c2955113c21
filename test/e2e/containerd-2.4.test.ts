import { openNode } from './support/node-client.ts'
import { describeClient } from './support/suite.ts'

describeClient({
  name: 'containerd 2.4, by hosts.toml, asked by ctr',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'one by one',
  takesArtifacts: true,
  bytesRatioMax: 1.01,
  open: (house) => openNode(house, { version: '2.4', by: 'ctr' }),
})

describeClient({
  name: 'containerd 2.4, by hosts.toml, asked through CRI',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'its own alone',
  takesArtifacts: false,
  bytesRatioMax: 1.01,
  open: (house) => openNode(house, { version: '2.4', by: 'crictl' }),
})

for (const by of ['ctr', 'crictl'] as const) {
  describeClient({
    name: `containerd 2.4 with parallel layer fetch, asked by ${by}`,
    upstreams: ['registry.example', 'docker.io'],
    platforms: by === 'ctr' ? 'one by one' : 'its own alone',
    takesArtifacts: by === 'ctr',
    bytesRatioMax: 1.05, // ranges without an end, left after a chunk
    rangesMin: 20,
    open: (house) => openNode(house, { version: '2.4', by, fetchesInParallel: true }),
  })
}
