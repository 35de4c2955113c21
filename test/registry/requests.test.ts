import { expect, test } from 'vitest'
import type { Rules } from '../../src/registry/registries.ts'
import { Requests } from '../../src/registry/requests.ts'
import { RULES, registriesOf } from './support.ts'

const requestsOf = (...rules: readonly (readonly [string, Rules])[]) => new Requests(registriesOf(...rules))
const digest = `sha256:${'a'.repeat(64)}`

test('a request that came before means the same again', () => {
  const requests = requestsOf(['docker.io', { ...RULES, default: true }])

  const first = requests.parse('/v2/library/alpine/manifests/latest', undefined)
  const second = requests.parse('/v2/library/alpine/manifests/latest', undefined)

  expect(second).toEqual(first)
})

test('the same path with another Host header is another request', () => {
  const requests = requestsOf(
    ['docker.io', { ...RULES, default: true }],
    ['ghcr.io', { ...RULES, hosts: ['mirror.example'] }],
  )

  const hostsOf = ['a.example', 'mirror.example', 'a.example'].map((host) => {
    const asked = requests.parse(`/v2/team/app/blobs/${digest}`, host)
    return asked.route === 'blob' && asked.target.repository.host
  })

  expect(hostsOf).toEqual(['docker.io', 'ghcr.io', 'docker.io'])
})

test('what is wrong is wrong each time', () => {
  const requests = requestsOf(['docker.io', { ...RULES, default: true }])
  const parse = () => requests.parse('/v2/library/alpine/blobs/sha256:short', undefined)

  expect(parse).toThrow()
  expect(parse).toThrow()
})

test('requests without end are taken, and still mean what they say', () => {
  const requests = requestsOf(['docker.io', { ...RULES, default: true }])

  for (let nth = 0; nth < 10_000; nth++) {
    const asked = requests.parse(`/v2/library/alpine/manifests/v${nth}`, undefined)
    if (asked.route !== 'manifest' || !('tag' in asked.reference)) throw new Error('a tag was expected')
    expect(asked.reference.tag).toBe(`v${nth}`)
  }
})
