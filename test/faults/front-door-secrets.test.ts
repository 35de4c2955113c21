import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashSync } from '@node-rs/bcrypt'
import { expect, onTestFinished, test } from 'vitest'
import { startHouse } from '../support/house.ts'
import { startUpstream } from '../support/upstream.ts'

const base64Of = (text: string): string => Buffer.from(text).toString('base64')
const basicOf = (text: string): string => `Basic ${base64Of(text)}`

test('fault 80: no name, password or hash that clients are let in by is in a line, a number, an answer or a file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-secrets-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const [file, data] = [join(folder, 'htpasswd'), join(folder, 'data')]
  const hash = hashSync('canary-right', 4)
  await writeFile(file, `canary-name:${hash}\n`)
  await using upstream = await startUpstream()
  const image = upstream.addImage('a/b', 'v1')
  await using house = await startHouse(upstream, { folder: data, access: { mode: 'htpasswd', htpasswd: file } })
  const path = `/v2/a/b/blobs/${image.config.digest}`

  const told = []
  for (const authorization of [
    basicOf('canary-name:canary-right'),
    basicOf('canary-name:canary-wrong'),
    basicOf(`canary-name:canary-${'long'.repeat(20)}`),
    `Bearer canary-token`,
    'canary',
    basicOf('canary-name:canary\0-zero'),
  ]) {
    for (const method of ['GET', 'PUT']) told.push(await house.ask(path, { method, headers: { authorization } }))
  }
  await writeFile(file, 'canary-name:canary-plain\n')
  const isTold = () => house.logged.some((line) => line.includes('a file has changed and is wrong'))
  const askAgain = () => house.ask('/v2/', { headers: { authorization: basicOf('canary-name:canary-right') } })
  await expect.poll(async () => (await askAgain()).status === 200 && isTold(), { timeout: 5_000 }).toBe(true)
  const metrics = await house.askAdmin('/metrics')
  await house.stop()
  const files = (await readdir(data, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  const kept = await Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name), 'latin1')))

  expect(told.map(({ status }) => status)).toEqual([200, 405, ...Array(10).fill(401)])
  const answers = told.map(({ rawHeaders, body }) => `${rawHeaders.join()}${body.toString('latin1')}`)
  const written = [...house.logged, ...house.access, ...answers, String(metrics.body), ...kept].join('\n')
  expect(written).toContain('"status":401')
  const secrets = ['canary', hash, hash.slice(7), base64Of('canary-name:canary-right'), base64Of('canary-name:canary-')]
  expect(secrets.filter((secret) => written.includes(secret))).toEqual([])
})
