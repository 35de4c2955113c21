/* For a process with few descriptors: uses them up, asks the disk, gives them back, asks again; prints what came. */
import { closeSync, openSync } from 'node:fs'
import { systemOutside } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import { Disk } from '../../src/store/disk.ts'
import { contentOf } from './content.ts'

const [folder = '', text = ''] = process.argv.slice(2)
const digest = parseDigest(text)
await using disk = await Disk.open({
  folder,
  cap: { bytes: 1e9 },
  outside: systemOutside,
  log: silentLog,
  freeKeptBytes: 0,
})
const beside = contentOf(2, 1_000)
await disk.put(beside.digest, beside.bytes)
await using openBeside = await disk.openBlob(beside.digest)

const taken = takeAll()
const withoutAny = await failureOf(disk.openBlob(digest))
const spoolWithoutAny = await failureOf(disk.openSpool(contentOf(3, 1).digest, 1))
const readBeside = await openBeside?.read(Buffer.alloc(2_000), 0, 2_000)
const { isDegraded } = disk
for (const fd of taken) closeSync(fd)
const after = (await disk.readWhole(digest, 1e9))?.length
process.stdout.write(JSON.stringify({ withoutAny, spoolWithoutAny, isDegraded, readBeside, after }))

function takeAll(): number[] {
  const fds: number[] = []
  try {
    for (;;) fds.push(openSync('/dev/null', 'r'))
  } catch {
    return fds // EMFILE: there is none left
  }
}

async function failureOf(act: Promise<unknown>): Promise<unknown> {
  try {
    await act
    return 'none'
  } catch (error) {
    return error instanceof Error && 'kind' in error ? { name: error.name, kind: error.kind } : String(error)
  }
}
