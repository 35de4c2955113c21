import { expect, test } from 'vitest'
import { Pins } from '../../src/cache/pins.ts'
import { findRegistryHost, parseRepositoryPath, parseTag } from '../../src/oci/names.ts'

const hostOf = (text: string) => findRegistryHost(text) ?? expect.fail('no host')
const use = (host: string, path: string, ...tags: string[]) => ({
  repository: { host: hostOf(host), path: parseRepositoryPath(path) },
  tags: tags.map(parseTag),
})

for (const [pattern, used, isPinned, why] of [
  ['team/app', use('ghcr.io', 'team/app'), true, 'the repository, whatever its tags'],
  ['team/*', use('ghcr.io', 'team/app', 'v1'), true, 'a pattern'],
  ['team/*', use('ghcr.io', 'team/app/sub'), false, 'one star stays within a part'],
  ['team/**', use('ghcr.io', 'team/app/sub'), true, 'two go on'],
  ['team/app:v*', use('ghcr.io', 'team/app', 'edge', 'v2'), true, 'one of its tags leads here'],
  ['team/app:v*', use('ghcr.io', 'team/app', 'edge'), false, 'none of its tags does'],
  ['team/app:v*', use('ghcr.io', 'team/app'), false, 'it is reached by no tag'],
  ['team/app', use('quay.io', 'team/app'), false, 'the same name elsewhere is another repository'],
] as const) {
  const verb = isPinned ? 'holds' : 'does not hold'
  test(`the pin ${pattern} ${verb} ${used.repository.path} ${used.tags}: ${why}`, () => {
    expect(new Pins([[hostOf('ghcr.io'), [pattern]]]).isPinned([used])).toBe(isPinned)
  })
}

test('an official image of Docker Hub is pinned by its short name and by its whole one', () => {
  for (const pattern of ['alpine', 'library/alpine', 'alpine:3.*', '*']) {
    const pins = new Pins([[hostOf('docker.io'), [pattern]]])

    expect(pins.isPinned([use('docker.io', 'library/alpine', '3.20')]), pattern).toBe(true)
  }
})

test('a digest is pinned when one of several uses is', () => {
  const pins = new Pins([[hostOf('ghcr.io'), ['team/app']]])

  expect(pins.isPinned([use('ghcr.io', 'other/app'), use('ghcr.io', 'team/app')])).toBe(true)
  expect(pins.isPinned([])).toBe(false)
})
