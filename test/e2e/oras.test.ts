import { expect } from 'vitest'
import { type Client, fileNameOf, prefixedNameOf, type Wanted } from './support/client.ts'
import { run } from './support/command.ts'
import { Folder } from './support/folder.ts'
import type { House } from './support/house.ts'
import { describeClient } from './support/suite.ts'
import { goTool } from './support/tools.ts'

describeClient({
  name: 'oras, by path prefix',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'all',
  takesArtifacts: true,
  bytesRatioMax: 1.01,
  open: openOras,
})

/** Copies into OCI layouts, referrers included; of an artifact with referrers it also asks what refers to it. */
async function openOras(house: House): Promise<Client> {
  const folder = await Folder.open()
  const { notes } = house.catalogue
  const pull = async (wanted: Wanted) => {
    const name = prefixedNameOf(wanted, house)
    const layout = `${folder.join(fileNameOf(wanted))}:pulled`
    const way = ['--from-plain-http', name, '--to-oci-layout', layout]
    await run(goTool('oras'), ['cp', '--recursive', '--no-tty', ...way], { cwd: folder.path })
    if (wanted.repository === notes.repository && wanted.reference === `:${notes.tag}`) {
      expect(await discover(name)).toEqual([...notes.referrers].sort())
    }
    return [(await run(goTool('oras'), ['resolve', '--oci-layout', layout])).trim()]
  }
  return { pull, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

async function discover(name: string): Promise<readonly string[]> {
  const told = await run(goTool('oras'), ['discover', '--plain-http', '--format', 'json', name])
  const found: { referrers: readonly { digest: string }[] } = JSON.parse(told)
  return found.referrers.map(({ digest }) => digest).sort()
}
