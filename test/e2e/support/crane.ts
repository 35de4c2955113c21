import { readFile } from 'node:fs/promises'
import { type Client, fileNameOf, prefixedNameOf, type Wanted } from './client.ts'
import { run } from './command.ts'
import { Folder } from './folder.ts'
import type { House } from './house.ts'
import { goTool } from './tools.ts'

/** Pulls into OCI layouts: crane checks each blob's digest and length as it writes it. */
export async function openCrane(house: House): Promise<Client> {
  const folder = await Folder.open()
  const pull = async (wanted: Wanted) => {
    const layout = folder.join(fileNameOf(wanted))
    await run(goTool('crane'), ['pull', '--format=oci', prefixedNameOf(wanted, house), layout])
    const index: { manifests: readonly { digest: string }[] } = JSON.parse(
      await readFile(`${layout}/index.json`, 'utf8'),
    )
    return index.manifests.map(({ digest }) => digest)
  }
  return { pull, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}
