import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import { Links } from '../../src/cache/links.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { findRegistryHost, parseRepositoryPath } from '../../src/oci/names.ts'
import type { Index } from '../../src/store/index.ts'
import { openSqliteIndex } from '../../src/store/sqlite.ts'

const host = findRegistryHost('registry.test') ?? expect.fail('no host')
const app = { host, path: parseRepositoryPath('team/app') }
const other = { host, path: parseRepositoryPath('other/app') }
const digest = digestOf(Buffer.from('layer'))

async function given(): Promise<{ index: Index; links: Links }> {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-links-'))
  const index = await openSqliteIndex(folder, silentLog)
  onTestFinished(async () => {
    await index[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })
  return { index, links: new Links(index, silentLog) }
}

test('what is proved in one repository is shown there alone', async () => {
  const { links } = await given()

  await links.prove(app, digest, false)

  expect([links.knows(app, digest), links.knows(other, digest)]).toEqual([true, false])
  expect(await links.mayShow(other, digest)).toBe(false)
})

test('a yes of the index is remembered, a no is not', async () => {
  const { index, links } = await given()
  const before = await links.mayShow(app, digest)

  await index.putLink({ repository: app, digest, isPublic: false })

  expect([before, await links.mayShow(app, digest), links.knows(app, digest)]).toEqual([false, true, true])
})

test('a link that is forgotten is not brought back by whoever asked just before', async () => {
  const { index, links } = await given()
  await index.putLink({ repository: app, digest, isPublic: false }) // memory doesn't know it: the index is asked

  const asking = links.mayShow(app, digest)
  const forgetting = links.forget(app, digest)
  await Promise.all([asking, forgetting])

  expect(links.knows(app, digest)).toBe(false)
  expect(await links.mayShow(app, digest)).toBe(false)
})

test('an index that fails proves nothing and costs no answer', async () => {
  const { index, links } = await given()
  await index[Symbol.asyncDispose]()

  expect(await links.mayShow(app, digest)).toBe(false)
  await expect(links.prove(app, digest, true)).resolves.toBeUndefined()
  expect(links.knows(app, digest)).toBe(true)
})
