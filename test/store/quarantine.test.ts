import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { openLog } from '../../src/base/log.ts'
import { Quarantine } from '../../src/store/quarantine.ts'
import { contentOf } from './content.ts'
import { heldClock, newFolder, openDisk } from './support.ts'

test('fault 90: however many files are set aside at once, the newest sixteen are left, and none is missed', async () => {
  const [from, folder] = [await newFolder(), await newFolder()]
  const told: string[] = []
  const log = await openLog({ level: 'warn', isPretty: false, to: { write: (line) => void told.push(line) } })
  const quarantine = new Quarantine(folder, () => 1e9, heldClock(), log)
  const names = Array.from({ length: 200 }, (_, place) => `sha256-${place}`)
  for (const name of names) await writeFile(join(from, name), name)

  await Promise.all(names.map((name) => quarantine.setAside(join(from, name), name, 'wrong digest')))

  expect((await readdir(folder)).length).toBe(16)
  expect(await readdir(from)).toEqual([])
  expect(told.filter((line) => line.includes('could not'))).toEqual([])
})

test('fault 90: a lowered cap takes from the quarantine too', async () => {
  const folder = await newFolder()
  await using disk = await openDisk(folder)
  const blob = contentOf(1, 100_000)
  const spool = await disk.openSpool(blob.digest, blob.bytes.length)
  await spool.write(0, blob.bytes)
  await disk.setAside(spool, 'wrong digest')
  const before = await readdir(join(folder, 'quarantine'))

  disk.setCap({ bytes: 1_000_000 })

  await vi.waitFor(async () => expect(await readdir(join(folder, 'quarantine'))).toEqual([]))
  expect(before.length).toBe(1)
})
