import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { configKeys } from '../../src/base/config-keys.ts'
import { loadConfig } from '../../src/base/config-load.ts'
import { upstreamsOf } from '../../src/base/config-upstreams.ts'
import { ROOT } from '../tidy/source.ts'

const pathTo = (name: string) => join(ROOT, 'config', name)
const textOf = (name: string) => readFileSync(pathTo(name), 'utf8')

test('the commented example loads, and says nothing but defaults of Docker Hub', () => {
  const { config } = loadConfig(pathTo('millpond.example.yaml'), new Map(), {})
  const bare = loadConfig(undefined, new Map(), {}).config

  const { upstreams, ...rest } = config
  const { upstreams: _none, ...defaults } = bare
  expect(rest).toEqual(defaults)
  const { tags, ...hub } = upstreams['docker.io'] ?? {}
  expect(upstreamsOf(bare).get('docker.io')).toMatchObject(hub)
  expect(tags).toHaveLength(1)
})

test('the commented example shows every key', () => {
  const words = new Set(textOf('millpond.example.yaml').match(/[A-Za-z]+/g))
  const names = configKeys().flatMap(({ path }) => path.slice(-1))

  expect(names.filter((name) => !words.has(name))).toEqual([])
})

test("dockerd's example is JSON with one mirror, a URL as dockerd wants it: no path, query or credentials", () => {
  const { 'registry-mirrors': mirrors } = z
    .strictObject({ 'registry-mirrors': z.array(z.string()) })
    .parse(JSON.parse(textOf('dockerd.daemon.json')))

  expect(mirrors.map((mirror) => new URL(mirror).href)).toEqual(mirrors.map((mirror) => `${mirror}/`))
})

for (const name of ['_default', 'docker.io']) {
  test(`containerd's example for ${name} pulls and resolves through Millpond, and keeps the way back`, () => {
    const lines = textOf(`containerd/${name}/hosts.toml`).split('\n')
    const plain = lines.filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith('  #'))

    expect(plain).toContain('[host."http://millpond.example:5000"]')
    expect(plain).toContain('  capabilities = ["pull", "resolve"]')
    expect(plain).toContain('  dial_timeout = "3s"')
    // A top-level key below a table's head would be the table's.
    const serverAt = plain.findIndex((line) => line.startsWith('server'))
    expect(serverAt).toBe(name === 'docker.io' ? 0 : -1)
    for (const line of plain) expect(line).toMatch(/^(?:\[host\."[^"]+"\]| {0,2}[a-z_]+ = (?:"[^"]*"|\["[^\]]*"\]))$/)
  })
}

test("podman's example names each registry once, with a mirror whose path is that registry's name", () => {
  const blocks = textOf('podman.registries.conf').split('[[registry]]').slice(1)

  expect(blocks.length).toBeGreaterThan(0)
  for (const block of blocks) {
    const [, prefix] = /^prefix = "([^"]+)"$/m.exec(block) ?? []
    expect(block).toContain(`location = "${prefix}"`)
    expect(block.match(/\[\[registry\.mirror\]\]/g)).toHaveLength(1)
    expect(block).toContain(`location = "millpond.example:5000/${prefix}"`)
  }
})
