import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest'
import type { Image } from './catalogue.ts'
import { type Client, type ClientKind, nameOf, type Wanted } from './client.ts'
import { House, type UpstreamName } from './house.ts'

type Pull = { readonly wanted: Wanted; readonly digest: string }

/** What is the same for every client: its pulls come once from upstream, and from then on from Millpond's disk. */
export function describeClient(kind: ClientKind): void {
  const [upstream, ...otherUpstreams] = kind.upstreams
  const closing = new AsyncDisposableStack()
  const pulls: Pull[] = []
  const opened: { house: House; client: Client }[] = []
  const here = () => {
    const [first] = opened
    if (first === undefined) throw new Error('the house was not opened: see the hook that failed')
    onTestFailed(async () => console.error(`Millpond's log ended with\n${await first.house.millpond.tail()}`))
    return first
  }
  const pull = async (client: Client, wanted: Wanted, digest: string) => {
    expect(await client.pull(wanted)).toContain(digest)
    pulls.push({ wanted, digest })
  }

  describe(kind.name, () => {
    beforeAll(async () => {
      const house = closing.use(await House.open())
      opened.push({ house, client: closing.use(await kind.open(house)) })
    })
    afterAll(() => closing.disposeAsync())

    test('pulls an image by tag, and one that is shown to an account alone', async () => {
      const { house, client } = here()
      const { pond, vault } = house.catalogue

      await pull(client, byTag(upstream, pond), pond.digest)
      await pull(client, byTag(upstream, vault), vault.digest)
    })

    test('pulls an image by digest', async () => {
      const { house, client } = here()
      const { deep } = house.catalogue

      await pull(client, { upstream, repository: deep.repository, reference: `@${deep.digest}` }, deep.digest)
    })

    test('pulls an index of two platforms', async () => {
      const { house, client } = here()
      const { app } = house.catalogue
      const wanted = byTag(upstream, app)

      if (kind.platforms === 'one by one') await pull(client, { ...wanted, platform: 'linux/arm64' }, app.digest)
      await pull(client, wanted, app.digest)
    })

    if (kind.takesArtifacts) {
      test('pulls an artifact, and the list of its referrers', async () => {
        const { house, client } = here()
        const { notes } = house.catalogue
        const list = { repository: notes.repository, tag: notes.referrersTag }

        await pull(client, byTag(upstream, notes), notes.digest)
        await pull(client, byTag(upstream, list), notes.referrersDigest)
      })
    }

    test('upstream gave each blob and each manifest once', async () => {
      const { house } = here()
      const { counts } = house.fronts[upstream]

      await house.untilIdle()

      expect(repeats(counts.pulls, () => 1)).toEqual([])
      expect(
        repeats(counts.blobBytes, (digest) => kind.bytesRatioMax * (house.sizeOf.get(digest) ?? Infinity)),
      ).toEqual([])
      for (const { digest, size } of house.catalogue.pond.layers)
        expect(counts.blobBytes.get(digest)).toBeGreaterThanOrEqual(size)
      expect(counts.leaks).toBe(0)
      const ranges = () => house.millpond.countRanges()
      await expect.poll(ranges).toBeGreaterThanOrEqual(kind.rangesMin ?? 0) // its log comes in batches
    })

    for (const other of otherUpstreams) {
      test(`the same image of ${other} costs neither a pull nor a blob: HEADs tell that it is the same`, async () => {
        const { house, client } = here()
        const { pond } = house.catalogue

        await pull(client, byTag(other, pond), pond.digest)

        await house.untilIdle()
        expect([...house.fronts[other].counts.pulls]).toEqual([])
        expect([...house.fronts[other].counts.blobBytes]).toEqual([])
      })
    }

    test('with upstream stopped, a client that has nothing pulls it all again', async () => {
      const { house } = here()
      await house.stopUpstream()
      await using client = await kind.open(house)

      for (const { wanted, digest } of pulls) expect(await client.pull(wanted), nameOf(wanted)).toContain(digest)

      await expectToRun(client, byTag(upstream, house.catalogue.pond), house.catalogue.pond.proof)
      await expectToRun(client, byTag(upstream, house.catalogue.app), house.catalogue.app.amd64.proof)
    })

    test('and again after Millpond was stopped and started, from its disk', async () => {
      const { house } = here()
      await house.millpond.restart()
      await using client = await kind.open(house)

      for (const { wanted, digest } of pulls) expect(await client.pull(wanted), nameOf(wanted)).toContain(digest)
    })
  })
}

async function expectToRun(client: Client, wanted: Wanted, proof: string): Promise<void> {
  if (client.run) expect(await client.run(wanted)).toContain(proof)
}

function byTag(upstream: UpstreamName, image: Pick<Image, 'repository' | 'tag'>): Wanted {
  return { upstream, repository: image.repository, reference: `:${image.tag}` }
}

/** What was given more often than `maxOf` allows. */
function repeats(counted: ReadonlyMap<string, number>, maxOf: (key: string) => number): readonly string[] {
  return [...counted]
    .filter(([key, count]) => count > maxOf(key))
    .map(([key, count]) => `${key}: ${count}, not ${maxOf(key)}`)
}
