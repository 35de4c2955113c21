import { openNode } from './support/node-client.ts'
import { describeClient } from './support/suite.ts'

describeClient({
  name: 'containerd 1.6, by hosts.toml, asked by ctr',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'one by one',
  takesArtifacts: true,
  bytesRatioMax: 1.01,
  open: (house) => openNode(house, { version: '1.6', by: 'ctr' }),
})

describeClient({
  name: 'containerd 1.6, by hosts.toml, asked through CRI',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'its own alone',
  takesArtifacts: false,
  bytesRatioMax: 1.01,
  open: (house) => openNode(house, { version: '1.6', by: 'crictl' }),
})
