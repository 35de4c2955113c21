import { readFile, writeFile } from 'node:fs/promises'
import { type Client, fileNameOf, nameOf, type Wanted } from './support/client.ts'
import { run } from './support/command.ts'
import { mirrorsOf } from './support/containers-image.ts'
import { Folder } from './support/folder.ts'
import type { House } from './support/house.ts'
import { digestOf } from './support/publisher.ts'
import { describeClient } from './support/suite.ts'
import { debianTool } from './support/tools.ts'

describeClient({
  name: 'skopeo, by registries.conf',
  upstreams: ['registry.example', 'docker.io'],
  platforms: 'all',
  takesArtifacts: true,
  bytesRatioMax: 1.01,
  open: openSkopeo,
})

/** Copies into folders, the manifest and all it names as they came; skopeo checks the digests of what it copies. */
async function openSkopeo(house: House): Promise<Client> {
  const folder = await Folder.open()
  await writeFile(folder.join('registries.conf'), mirrorsOf(house))
  const settings = ['--registries-conf', folder.join('registries.conf'), '--insecure-policy']
  const skopeo = (...args: string[]) => run(debianTool('skopeo'), [...settings, ...args])
  const copy = async (wanted: Wanted) => {
    const place = folder.join(fileNameOf(wanted))
    await skopeo('copy', '--all', '--preserve-digests', `docker://${nameOf(wanted)}`, `dir:${place}`)
    return digestOf(await readFile(`${place}/manifest.json`))
  }
  /**
   * skopeo 1.9 would write the list of referrers anew, without their types: it is read, and what it names is copied.
   */
  const copyReferrers = async (wanted: Wanted) => {
    const list = await skopeo('inspect', '--raw', `docker://${nameOf(wanted)}`)
    const { manifests }: { manifests: readonly { digest: string }[] } = JSON.parse(list)
    for (const { digest } of manifests) await copy({ ...wanted, reference: `@${digest}` })
    return digestOf(Buffer.from(list))
  }
  const listReference = `:${house.catalogue.notes.referrersTag}`
  return {
    pull: async (wanted) => [await (wanted.reference === listReference ? copyReferrers : copy)(wanted)],
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}
