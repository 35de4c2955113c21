import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from './command.ts'
import { debianTool } from './tools.ts'

/** A folder of one daemon or suite. Closing it unmounts what an engine left mounted below, then removes it. */
export class Folder implements AsyncDisposable {
  readonly path: string

  /** The name is short: a Unix socket's path holds 107 bytes. */
  static async open(): Promise<Folder> {
    return new Folder(await mkdtemp(join(tmpdir(), 'mp-')))
  }

  private constructor(path: string) {
    this.path = path
  }

  join(...parts: readonly string[]): string {
    return join(this.path, ...parts)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const point of await mountsBelow(this.path)) await run(debianTool('umount'), ['-l', point])
    await rm(this.path, { recursive: true, force: true })
  }
}

/** The deepest first. */
async function mountsBelow(path: string): Promise<readonly string[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')
  const points = lines.map((line) => line.split(' ')[4] ?? '')
  return points.filter((point) => point.startsWith(`${path}/`)).reverse()
}
