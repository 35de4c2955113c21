import { readdir } from 'node:fs/promises'
import { expect, test, vi } from 'vitest'
import { systemOutside } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { Disk } from '../../src/store/disk.ts'
import { newFolder } from './support.ts'

const openOn = (folder: string, type: number, log = silentLog) =>
  Disk.open({ folder, cap: { bytes: 1e9 }, outside: systemOutside, log, typeOf: () => type })

for (const [type, name] of [
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xff534d42 - 2 ** 32, 'CIFS'],
  [0xfe534d42, 'SMB2'],
] as const) {
  test(`fault 39: a folder on ${name} (${type}) is refused in one sentence that names the remedy, and has no database`, async () => {
    const folder = await newFolder()

    await expect(openOn(folder, type)).rejects.toThrow(
      `nothing can be kept in ${folder}: it is on a network file system (${name}), where SQLite's locks can't be ` +
        'trusted: name a folder on a local volume',
    )
    expect((await readdir(folder)).filter((file) => file.includes('sqlite'))).toEqual([])
  })
}

for (const [type, name, warnings] of [
  [0x65735546, 'FUSE', 1],
  [0x01021997, '9p', 1],
  [0xef53, 'ext4', 0],
  [0x01021994, 'tmpfs', 0],
  [0x794c7630, 'overlay', 0],
] as const) {
  test(`fault 39: a folder on ${name} is taken${warnings ? ', with a warning' : ''}`, async () => {
    const log = { ...silentLog, warn: vi.fn() }

    await using _disk = await openOn(await newFolder(), type, log)

    expect(log.warn).toHaveBeenCalledTimes(warnings)
  })
}
