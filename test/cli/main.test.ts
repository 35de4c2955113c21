import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'vitest'
import { ask } from '../support/ask.ts'
import { type Ended, MillpondProcess } from '../support/process.ts'
import { startUpstream } from '../support/upstream.ts'

async function folderOf({ onTestFinished }: Pick<TestContext, 'onTestFinished'>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-cli-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function run(args: readonly string[], environment = {}, nodeArgs: readonly string[] = []): Promise<Ended> {
  await using millpond = new MillpondProcess(args, environment, nodeArgs)
  return await millpond.ended()
}

const serveArgs = (folder: string) => [
  '--listen',
  '127.0.0.1:0',
  '--admin-listen',
  '127.0.0.1:0',
  '--disk-folder',
  folder,
]

test.concurrent('it says its version, and what can be typed', async (context) => {
  const { expect } = context
  const [version, help] = await Promise.all([run(['--version']), run(['serve', '--help'])])

  expect(version).toMatchObject({ status: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
  for (const flag of ['--config', '--listen', '--disk-cap', '--log-level', 'MILLPOND_DISK_CAP']) {
    expect(help.out).toContain(flag)
  }
})

test.concurrent('what can not be done is a sentence and status 1', async (context) => {
  const { expect } = context
  const folder = await folderOf(context)
  const file = join(folder, 'millpond.yaml')
  await writeFile(file, 'listen: nowhere\nupstreams:\n  a.io:\n    accounts: [{ username: u, pasword: canary }]\n')
  const [flag, config] = await Promise.all([run(['serve', '--lisen', 'x']), run(['serve', '--config', file])])

  expect(flag).toMatchObject({ status: 1, err: expect.stringContaining('(Did you mean --listen?)') })
  expect(config.status).toBe(1)
  expect(config.err).toContain(`${file}:1: listen is "nowhere": an address and a port`)
  expect(config.err).toContain(`${file}:4: upstreams.a.io.accounts[0].pasword is not known: did you mean password?`)
  expect(config.out + config.err).not.toContain('canary')
})

test.concurrent('on a Node that is too old it says so in one line, and ends with 1', async (context) => {
  const { expect } = context
  const old = 'Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.20.2"}})'

  expect(await run([], {}, ['--import', `data:text/javascript,${encodeURIComponent(old)}`])).toEqual({
    status: 1,
    out: '',
    err: 'millpond needs Node 24 or newer; this is Node 20.20.2\n',
  })
})

test.concurrent('it serves, says where and how, refuses a second one its folder, and drains at SIGTERM', async (context) => {
  const { expect } = context
  const folder = await folderOf(context)
  await using millpond = new MillpondProcess(serveArgs(folder))
  const { origin, adminOrigin } = await millpond.serving()

  expect((await ask(`${origin}/v2/`)).status).toBe(200)
  expect((await ask(`${adminOrigin}/readyz`)).status).toBe(200)
  const second = await run(serveArgs(folder))
  expect(second).toMatchObject({ status: 1, out: expect.not.stringContaining('serving') })
  const holder = `process ${millpond.child.pid}, since 20[-0-9T:.]+Z`
  expect(second.err).toMatch(
    new RegExp(`^millpond: the folder ${folder} is in use by ${holder} \\(the key is disk.folder\\)\n$`),
  )
  millpond.kill('SIGTERM')
  const { status, err } = await millpond.ended()

  expect(status).toBe(0)
  expect(err).toContain(`serves   ${origin}\n`)
  expect(err).toContain(`keeps    ${folder}, at most `)
  expect(err).toContain(`{"registry-mirrors": ["${origin}"]}`)
})

test.concurrent('the environment configures it, its last lines are written, and SIGINT drains as well', async (context) => {
  const { expect } = context
  await using fake = await startUpstream()
  const image = fake.addImage('library/app', 'v1')
  const upstreams = JSON.stringify({ 'registry.test': { default: true, endpoints: [fake.origin] } })
  const folder = await folderOf(context)
  const environment = { MILLPOND_LISTEN: '127.0.0.1:0', MILLPOND_ADMIN_LISTEN: 'off', MILLPOND_DISK_FOLDER: folder }
  await using millpond = new MillpondProcess([], { ...environment, MILLPOND_UPSTREAMS: upstreams })
  const { origin } = await millpond.serving()

  expect((await ask(`${origin}/v2/library/app/manifests/v1`)).body).toEqual(image.manifest)
  millpond.kill('SIGINT')
  const { status, out } = await millpond.ended()

  expect(status).toBe(0)
  expect(out).toContain('"msg":"answered","method":"GET","path":"/v2/library/app/manifests/v1","status":200')
})
