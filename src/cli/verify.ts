import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { systemOutside } from '../base/clock.ts'
import type { Cap } from '../base/config.ts'
import { loadConfig } from '../base/config-load.ts'
import { StartError } from '../base/listening.ts'
import { type Log, openLog } from '../base/log.ts'
import { sizeText } from '../base/units.ts'
import type { Digest } from '../oci/digest.ts'
import { Disk } from '../store/disk.ts'
import { DiskError } from '../store/disk-error.ts'
import type { Verdict } from '../store/disk-walk.ts'
import { Progress } from './progress.ts'

/** Blobs read at a time: the next are read while one is hashed. */
const AT_ONCE = 4
const PAGE = 1_000

type Options = { readonly config?: string; readonly diskFolder?: string; readonly dryRun?: boolean }
type Counts = { readonly [verdict in Verdict]: number } & { readonly bytes: number }

/**
 * `millpond verify`: hashes all that is held, as fast as it can.
 * @param onEnd is told the exit status: 0 all is right, 1 something is not
 */
export function verifyCommand(onEnd: (status: number) => void): Command {
  return new Command('verify')
    .description(
      'Hash every blob of a folder that no server has, and set aside those that are not what they should be.',
    )
    .option('-c, --config <file>', 'the configuration, in YAML (MILLPOND_CONFIG)')
    .option('--disk-folder <folder>', 'the folder (MILLPOND_DISK_FOLDER)')
    .option('--dry-run', 'say what is wrong, and leave it where it is')
    .action(async (options: Options) => {
      try {
        onEnd(await verify(options))
      } catch (error) {
        throw new VerifyError(error)
      }
    })
}

/** It could not be done; `cause` says why. */
export class VerifyError extends Error {
  override readonly name = 'VerifyError'

  constructor(cause: unknown) {
    super('the folder could not be verified', { cause })
  }
}

/** @returns the exit status */
async function verify({ config: path, diskFolder, dryRun: isDry = false }: Options): Promise<number> {
  const { config } = loadConfig(path, new Map(diskFolder === undefined ? [] : [['--disk-folder', diskFolder]]))
  const folder = resolve(config.disk.folder)
  if (!existsSync(join(folder, 'blobs'))) throw new StartError(`${folder} holds no blobs (the key is disk.folder)`)
  const log = await openLog({ level: 'warn', isPretty: process.stderr.isTTY === true, to: process.stderr })
  const ending = new AbortController()
  process.once('SIGINT', () => ending.abort()).once('SIGTERM', () => ending.abort())
  await using disk = await openDisk(folder, config.disk.cap, log)
  const startedMs = systemOutside.clock.monotonicMs()
  const counts = await verifyAll(disk, isDry, ending.signal)
  const seconds = (systemOutside.clock.monotonicMs() - startedMs) / 1000
  const bad = counts.wrong + counts.lost
  const blobs = counts.right + bad
  const told = bad === 0 ? 'all right' : `${counts.wrong} wrong, ${counts.lost} lost`
  process.stdout.write(`${blobs} blobs, ${sizeText(counts.bytes)} in ${seconds.toFixed(1)} s: ${told}\n`)
  if (ending.signal.aborted) throw new StartError('it was ended before all was read')
  if (counts.unknown > 0) throw new StartError(`${counts.unknown} blobs could not be read for now`)
  return bad === 0 ? 0 : 1
}

async function openDisk(folder: string, cap: Cap, log: Log): Promise<Disk> {
  try {
    return await Disk.open({ folder, cap, log, outside: systemOutside })
  } catch (error) {
    if (error instanceof DiskError) throw new StartError(`${error.message} (the key is disk.folder)`, { cause: error })
    throw error
  }
}

/** Tells each blob that is not right as it is found. */
async function verifyAll(disk: Disk, isDry: boolean, signal: AbortSignal): Promise<Counts> {
  const counts = { right: 0, wrong: 0, lost: 0, unknown: 0, bytes: 0 }
  using progress = new Progress(disk.counts().bytes, systemOutside.clock)
  const goesOn = (bytes: number) => {
    counts.bytes += bytes
    progress.show(counts.bytes)
    return !signal.aborted
  }
  const next = blobsOf(disk)
  const verifyNext = async () => {
    for (let each = next.next(); !each.done && !signal.aborted; each = next.next()) {
      const verdict = await disk.walk.verify(each.value, { goesOn, isDry })
      counts[verdict] += 1
      if (verdict !== 'right') progress.say(`${each.value} ${WORDS[verdict]}${isDry ? '' : ASIDE[verdict]}`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, verifyNext))
  return counts
}

const WORDS: Record<Exclude<Verdict, 'right'>, string> = {
  wrong: 'is not what its name says',
  lost: 'has no file of its size',
  unknown: 'could not be read for now',
}
const ASIDE: Record<Exclude<Verdict, 'right'>, string> = {
  wrong: ': it is in the quarantine',
  lost: ': it is forgotten',
  unknown: '',
}

function* blobsOf(disk: Disk): Generator<Digest, void> {
  let page = disk.walk.blobsAfter(undefined, PAGE)
  for (let last = page.at(-1); last; last = page.at(-1)) {
    yield* page
    page = disk.walk.blobsAfter(last, PAGE)
  }
}
