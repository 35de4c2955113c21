/*
 * Commits, puts, removes and leaves half-written spools in the folder of its first argument until it is killed; the
 * second is the seed of what it does. Says `ready` once the disk is open.
 */
import { systemOutside } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { checksumsOf } from '../../src/store/checksums.ts'
import { Disk } from '../../src/store/disk.ts'
import { contentOf } from './content.ts'

const MIB = 1024 * 1024
const [folder = '', seedText = '0'] = process.argv.slice(2)
const disk = await Disk.open({ folder, cap: { bytes: 1e9 }, outside: systemOutside, log: silentLog, freeKeptBytes: 0 })
process.stdout.write('ready\n')

for (let turn = Number(seedText) * 1_000; ; turn += 1) {
  const { digest, bytes } = contentOf(turn % 40, 10_000 + ((turn * 7_919) % MIB))
  if (turn % 5 === 0) await disk.put(digest, bytes)
  else if (turn % 7 === 0) await disk.remove(digest)
  else if (turn % 11 === 0) await growLargest(turn)
  else if (!disk.find(digest)) await commit(digest, bytes)
}

async function commit(digest: Parameters<Disk['find']>[0], bytes: Buffer): Promise<void> {
  await using spool = await disk.openSpool(digest, bytes.length)
  for (const { start, end } of spool.held.gaps(bytes.length)) {
    for (let offset = start; offset < end; offset += 100_000) {
      await spool.write(offset, bytes.subarray(offset, Math.min(offset + 100_000, end)))
    }
  }
  await disk.commit(spool, checksumsOf(bytes))
}

/** Large enough for a note midway. */
async function growLargest(turn: number): Promise<void> {
  const { digest, bytes } = contentOf(1_000, 24 * MIB)
  if (disk.find(digest)) return
  await using spool = await disk.openSpool(digest, bytes.length)
  const [gap] = spool.held.gaps(bytes.length)
  if (gap) await spool.write(gap.start, bytes.subarray(gap.start, Math.min(gap.end, gap.start + MIB * (turn % 5))))
}
