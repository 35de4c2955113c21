import { openDockerd } from './support/dockerd.ts'
import { describeClient } from './support/suite.ts'

for (const [engine, store] of [
  ['20.10', 'overlay2'],
  ['current', "containerd's image store"],
] as const) {
  describeClient({
    name: `dockerd ${engine} (${store}), by registry-mirrors`,
    upstreams: ['docker.io'],
    platforms: 'one by one',
    takesArtifacts: false,
    bytesRatioMax: 1.01,
    open: (house) => openDockerd(house, { engine, way: 'mirror' }),
  })

  describeClient({
    name: `dockerd ${engine} (${store}), by path prefix`,
    upstreams: ['registry.example', 'docker.io'],
    platforms: 'one by one',
    takesArtifacts: false,
    bytesRatioMax: 1.01,
    open: (house) => openDockerd(house, { engine, way: 'prefix' }),
  })
}

describeClient({
  name: 'dockerd current, by registry-mirrors with a path',
  upstreams: ['docker.io'],
  platforms: 'one by one',
  takesArtifacts: false,
  bytesRatioMax: 1.01,
  open: (house) => openDockerd(house, { engine: 'current', way: 'mirror with a path' }),
})

describeClient({
  name: 'dockerd current, by hosts.toml',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'one by one',
  takesArtifacts: false,
  bytesRatioMax: 1.01,
  open: (house) => openDockerd(house, { engine: 'current', way: 'hosts.toml' }),
})
