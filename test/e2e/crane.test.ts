import { readFile } from 'node:fs/promises'
import { type Client, fileNameOf, prefixedNameOf, type Wanted } from './support/client.ts'
import { run } from './support/command.ts'
import { Folder } from './support/folder.ts'
import type { House } from './support/house.ts'
import { describeClient } from './support/suite.ts'
import { goTool } from './support/tools.ts'

describeClient({
  name: 'crane, by path prefix',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'all',
  takesArtifacts: true,
  bytesRatioMax: 1.01,
  open: openCrane,
})

/** Pulls into OCI layouts: crane checks each blob's digest and length as it writes it. */
async function openCrane(house: House): Promise<Client> {
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
