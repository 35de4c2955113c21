import { openCrane } from './support/crane.ts'
import { describeClient } from './support/suite.ts'

describeClient({
  name: 'crane, by path prefix',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'all',
  takesArtifacts: true,
  bytesRatioMax: 1.01,
  open: openCrane,
})
