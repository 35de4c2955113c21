import { mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openLog } from '../../src/base/log.ts'
import { WatchedFile } from '../../src/base/watched-file.ts'
import { HandClock } from '../cache/hand-clock.ts'

async function watched() {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-watched-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const name = join(folder, 'file')
  const logged: string[] = []
  const reads: string[] = []
  const clock = new HandClock()
  const log = await openLog({ level: 'info', isPretty: false, to: { write: (line) => void logged.push(line) } })
  const read = (text: string) => {
    reads.push(text)
    return text.startsWith('good') ? ({ at: 'read', value: text } as const) : ({ at: 'wrong', says: 'bad' } as const)
  }
  const file = new WatchedFile({ name, read, value: 'good at start', clock, log })
  const later = async () => {
    clock.advance(1_000)
    await file.look()
    return file.value
  }
  return { name, file, clock, logged, reads, later }
}

test('it is looked at once a second at most, and read only when it has changed', async () => {
  const { name, file, clock, reads, later } = await watched()
  await writeFile(name, 'good 1')

  await Promise.all([file.look(), file.look()])
  expect(file.look()).toBeUndefined()
  clock.advance(999)
  expect(file.look()).toBeUndefined()
  await later()

  expect(file.value).toBe('good 1')
  expect(reads).toEqual(['good 1'])
})

test('a change is seen, in place or by another file in its place', async () => {
  const { name, later } = await watched()
  await writeFile(name, 'good 1')
  expect(await later()).toBe('good 1')

  await writeFile(name, 'good 2')
  expect(await later()).toBe('good 2')
  await writeFile(`${name}.new`, 'good 3')
  await rename(`${name}.new`, name)

  expect(await later()).toBe('good 3')
})

test('one that is wrong, gone or far too large leaves what it said before, and is told once each', async () => {
  const { name, logged, later } = await watched()
  await writeFile(name, 'good 1')
  await later()

  await writeFile(name, 'canary')
  expect([await later(), await later()]).toEqual(['good 1', 'good 1'])
  await rm(name)
  expect([await later(), await later()]).toEqual(['good 1', 'good 1'])
  await writeFile(name, 'good')
  await truncate(name, 1024 * 1024 + 1)
  expect([await later(), await later()]).toEqual(['good 1', 'good 1'])

  expect(logged.map((line) => JSON.parse(line).says)).toEqual([
    'bad',
    "it can't be read: no such file",
    'it is larger than 1 MiB',
  ])
  expect(logged.join()).not.toContain('canary')
})
