import { expect, test, vi } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import { DiskError } from '../../src/store/disk-error.ts'
import { DiskHealth } from '../../src/store/disk-health.ts'
import { heldClock, newFolder } from './support.ts'

const full = () => new DiskError('full', 'full', Object.assign(new Error('no space'), { code: 'ENOSPC' }))
const broken = (code = 'EIO') => new DiskError('failed', 'failed', Object.assign(new Error('i/o'), { code }))

async function given() {
  const clock = heldClock()
  const log = { ...silentLog, warn: vi.fn(), info: vi.fn() }
  const told = { trouble: undefined as DiskError | undefined, shortBytes: 0 }
  const health = new DiskHealth({
    findTrouble: async () => told.trouble,
    shortBytes: () => told.shortBytes,
    probePath: `${await newFolder()}/probe`,
    clock,
    log,
  })
  const transitions = () => [...log.warn.mock.calls, ...log.info.mock.calls].filter(([facts]) => 'condition' in facts)
  const looked = (condition: string) =>
    vi.waitFor(() => {
      clock.advance(5_000)
      expect(health.condition).toBe(condition)
    })
  return { clock, told, health, transitions, looked }
}

test('fault 30: a disk that is full is no failing one, is told once, and once more when it takes again', async () => {
  const { health, transitions, looked } = await given()

  health.failed(full())
  health.failed(full())
  expect(health.condition).toBe('full')
  await looked('well')

  expect(transitions().map(([{ condition }]) => condition)).toEqual(['full', 'well'])
})

for (const code of ['EIO', 'EROFS', 'ENOENT', 'ENOTDIR', 'SQLITE_CORRUPT']) {
  test(`fault 38: ${code} is a failing disk, also where it was full before`, async () => {
    const { health, looked } = await given()
    health.failed(full())

    health.failed(broken(code))
    health.failed(full())

    expect(health.condition).toBe('failing')
    await looked('well')
  })
}

for (const code of ['EMFILE', 'ENOMEM', 'EISDIR', 'EEXIST', 'ELOOP']) {
  test(`${code} says nothing of the disk: it is of this process, or of one name`, async () => {
    const { health } = await given()

    health.failed(broken(code))

    expect(health.condition).toBe('well')
  })
}

test('fault 30: known to be short before anything is written it is full, until there is room for what was refused', async () => {
  const { told, health, looked, clock } = await given()
  told.shortBytes = 10
  health.refused(1_000)

  health.worked() // a small one fits
  await looked('full')
  clock.advance(20_000)
  expect(health.condition).toBe('full')
  told.shortBytes = 0

  await looked('well')
})

test('fault 30: where nothing was refused for a minute nothing is not kept', async () => {
  const { told, health, looked, clock } = await given()
  told.shortBytes = 10
  health.refused(1_000)

  clock.advance(60_000)

  await looked('well')
})

test('fault 38: a folder that is not the one that was opened is a failing disk, as long as it isn’t', async () => {
  const { told, looked } = await given()
  told.trouble = new DiskError('failed', 'elsewhere')
  await looked('failing')
  told.trouble = undefined

  await looked('well')
})
