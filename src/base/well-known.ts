/** What names Docker Hub; all are one upstream, whose API is at the second. */
export const DOCKER_HUB = 'docker.io'
export const DOCKER_HUB_ALIASES = ['registry-1.docker.io', 'index.docker.io'] as const

/** Public registries that are upstreams without being configured, unless `wellKnown: false`. */
export const WELL_KNOWN = [
  DOCKER_HUB,
  'ghcr.io',
  'quay.io',
  'registry.k8s.io',
  'gcr.io',
  'mcr.microsoft.com',
  'public.ecr.aws',
  'registry.gitlab.com',
  'nvcr.io',
  'registry.access.redhat.com',
  'docker.elastic.co',
  'codeberg.org',
] as const
