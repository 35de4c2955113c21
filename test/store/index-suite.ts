import { describe, expect, onTestFinished, test } from 'vitest'
import type { Digest } from '../../src/oci/digest.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import { findRegistryHost, parseRepositoryPath, parseTag, type Repository, type Tag } from '../../src/oci/names.ts'
import type { Index, ManifestFacts } from '../../src/store/index.ts'

export function repositoryOf(host: string, path: string): Repository {
  const found = findRegistryHost(host)
  if (!found) throw new Error(`no host: ${host}`)
  return { host: found, path: parseRepositoryPath(path) }
}

export const tagOf = (text: string): Tag => parseTag(text)

const named = (name: string): Digest => digestOf(Buffer.from(name))

function manifestOf(name: string, children: readonly string[], more: Partial<ManifestFacts> = {}): ManifestFacts {
  return {
    digest: named(name),
    mediaType: MEDIA_TYPE.ociManifest,
    sizeBytes: 500,
    children: children.map((child) => ({ digest: named(child), sizeBytes: 10, mediaType: MEDIA_TYPE.octets })),
    ...more,
  }
}

const ours = repositoryOf('docker.io', 'library/alpine')
const theirs = repositoryOf('docker.io', 'victim/secret')
const elsewhere = repositoryOf('ghcr.io', 'library/alpine')
const latest = tagOf('latest')

/** What every engine of the index promises. */
export function indexSuite(engine: string, openIndex: () => Promise<Index>): void {
  async function opened(): Promise<Index> {
    const index = await openIndex()
    onTestFinished(() => index[Symbol.asyncDispose]())
    return index
  }

  describe(`the index on ${engine}`, () => {
    resolutionTests(opened)
    linkTests(opened)
    manifestTests(opened)
    userTests(opened)
    listingTests(opened)
  })
}

type Opened = () => Promise<Index>

function resolutionTests(opened: Opened): void {
  test('a tag is what upstream last confirmed, in its repository alone', async () => {
    const index = await opened()

    await index.putResolution(ours, latest, named('one'), 1_000)
    await index.putResolution(ours, latest, named('two'), 2_000)
    await index.putResolution(ours, latest, named('two'), 3_000)

    expect(await index.findResolution(ours, latest)).toEqual({
      digest: named('two'),
      confirmedMs: 3_000,
      goneMs: undefined,
    })
    expect(await index.findResolution(elsewhere, latest)).toBeUndefined()
    expect(await index.findResolution(ours, tagOf('Latest'))).toBeUndefined()
  })

  test('a tag that went back to what it was is that again', async () => {
    const index = await opened()

    for (const [name, ms] of [
      ['one', 1],
      ['two', 2],
      ['one', 3],
    ] as const) {
      await index.putResolution(ours, latest, named(name), ms)
    }

    expect(await index.findResolution(ours, latest)).toMatchObject({ digest: named('one'), confirmedMs: 3 })
  })

  test('a tag that is gone is still known, unlisted, until upstream confirms it again', async () => {
    const index = await opened()
    await index.putResolution(ours, latest, named('one'), 1_000)

    await index.putGone(ours, latest, 2_000)

    expect(await index.findResolution(ours, latest)).toEqual({
      digest: named('one'),
      confirmedMs: 1_000,
      goneMs: 2_000,
    })
    expect(await index.tagsOf(ours)).toEqual([])
    await index.putResolution(ours, latest, named('one'), 3_000)
    expect(await index.findResolution(ours, latest)).toMatchObject({ confirmedMs: 3_000, goneMs: undefined })
    expect(await index.tagsOf(ours)).toEqual([latest])
  })

  test('a tag that is forgotten is unknown; one that was never known can be gone or forgotten', async () => {
    const index = await opened()
    await index.putResolution(ours, latest, named('one'), 1_000)

    await index.forgetResolution(ours, latest)
    await index.forgetResolution(elsewhere, latest)
    await index.putGone(elsewhere, latest, 1)

    expect(await index.findResolution(ours, latest)).toBeUndefined()
    expect(await index.tagsOf(ours)).toEqual([])
    await index.putResolution(ours, latest, named('two'), 1_000)
    expect(await index.tagsOf(ours)).toEqual([latest])
  })

  test('tags come in lexical order, upper case first', async () => {
    const index = await opened()

    for (const tag of ['b', '10', 'B', '9', 'a']) await index.putResolution(ours, tagOf(tag), named('one'), 1)

    expect(await index.tagsOf(ours)).toEqual(['10', '9', 'B', 'a', 'b'])
    expect(await index.tagsOf(elsewhere)).toEqual([])
  })
}

function linkTests(opened: Opened): void {
  test('a digest is shown where it is linked and nowhere else', async () => {
    const index = await opened()

    await index.putLink({ repository: ours, digest: named('layer'), isPublic: false })

    expect(await index.mayShow(ours, named('layer'))).toBe(true)
    expect(await index.mayShow(elsewhere, named('layer'))).toBe(false)
    expect(await index.mayShow(ours, named('other'))).toBe(false)
    await index.forgetLink(ours, named('layer'))
    expect(await index.mayShow(ours, named('layer'))).toBe(false)
  })

  for (const [isPublic, isManifestLinked, isNamed, isShown, why] of [
    [true, true, true, true, 'its bytes are public and a manifest of the repository names it'],
    [false, true, true, false, 'a mention proves nothing of bytes that were got with an account'],
    [true, false, true, false, 'the manifest that names it is not of this repository'],
    [true, true, false, false, 'no manifest names it'],
  ] as const) {
    test(`fault 76: what another repository holds is ${isShown ? '' : 'not '}shown: ${why}`, async () => {
      const index = await opened()
      await index.putLink({ repository: theirs, digest: named('layer'), isPublic })
      await index.putManifest(manifestOf('manifest', isNamed ? ['layer'] : ['another']))

      if (isManifestLinked) await index.putLink({ repository: ours, digest: named('manifest'), isPublic: true })

      expect(await index.mayShow(ours, named('layer'))).toBe(isShown)
    })
  }

  test('what was public once stays so, whoever asks with an account later', async () => {
    const index = await opened()
    await index.putLink({ repository: theirs, digest: named('layer'), isPublic: false })
    await index.putLink({ repository: theirs, digest: named('layer'), isPublic: true })
    await index.putLink({ repository: theirs, digest: named('layer'), isPublic: false })
    await index.putManifest(manifestOf('manifest', ['layer']))
    await index.putLink({ repository: ours, digest: named('manifest'), isPublic: false })

    expect(await index.mayShow(ours, named('layer'))).toBe(true)
  })
}

function manifestTests(opened: Opened): void {
  test('a manifest is told as it was put, with its children in order', async () => {
    const index = await opened()
    const facts = manifestOf('manifest', [], {
      children: [
        {
          digest: named('b'),
          sizeBytes: 7,
          mediaType: 'x/y',
          platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
        },
        { digest: named('a'), sizeBytes: 2 ** 40, mediaType: 'x/z', platform: { os: 'linux', architecture: 'amd64' } },
        { digest: named('b'), sizeBytes: 7, mediaType: 'x/y' },
      ],
      subject: named('subject'),
      artifactType: 'application/vnd.example',
      annotations: JSON.parse('{"__proto__":"kept","a":"ü"}'),
    })

    await index.putManifest(facts)

    expect(await index.findManifest(facts.digest)).toEqual(facts)
    expect(await index.findManifest(named('other'))).toBeUndefined()
  })

  test('one digest has one media type for good', async () => {
    const index = await opened()
    await index.putManifest(manifestOf('manifest', ['a']))

    await index.putManifest(manifestOf('manifest', ['b'], { mediaType: MEDIA_TYPE.ociIndex }))

    expect(await index.findManifest(named('manifest'))).toEqual(manifestOf('manifest', ['a']))
  })

  test('ten thousand children come back, and are forgotten with their manifest', async () => {
    const index = await opened()
    const facts = manifestOf(
      'index',
      Array.from({ length: 10_000 }, (_, number) => `child ${number}`),
    )
    await index.putLink({ repository: ours, digest: facts.digest, isPublic: true })
    await index.putManifest(facts)
    expect((await index.findManifest(facts.digest))?.children).toHaveLength(10_000)

    await index.forgetManifest(facts.digest)

    expect(await index.findManifest(facts.digest)).toBeUndefined()
    expect(await index.findDescriptor(ours, named('child 9999'))).toBeUndefined()
    expect(await index.mayShow(ours, facts.digest)).toBe(true)
  })

  test('a manifest that comes again while it is forgotten has all of its children', async () => {
    const index = await opened()
    const children = Array.from({ length: 120 }, (_, number) => `child ${number}`)
    const facts = manifestOf('index', children)
    await index.putManifest(facts)

    await Promise.all([index.forgetManifest(facts.digest), index.putManifest(facts)])

    expect(await index.findManifest(facts.digest)).toEqual(facts)
  })

  test('a descriptor comes from a manifest that is linked here: another repository may lie', async () => {
    const index = await opened()
    const lie = { digest: named('layer'), sizeBytes: 1, mediaType: 'a/lie' }
    await index.putManifest(manifestOf('honest', ['layer']))
    await index.putManifest(manifestOf('liar', [], { children: [lie] }))
    await index.putLink({ repository: ours, digest: named('honest'), isPublic: true })
    await index.putLink({ repository: theirs, digest: named('liar'), isPublic: true })

    expect(await index.findDescriptor(ours, named('layer'))).toMatchObject({ sizeBytes: 10 })
    expect(await index.findDescriptor(theirs, named('layer'))).toEqual(lie)
    expect(await index.findDescriptor(elsewhere, named('layer'))).toBeUndefined()
  })

  test('referrers are the manifests linked here whose subject it is', async () => {
    const index = await opened()
    const signature = manifestOf('signature', ['payload'], { subject: named('image'), annotations: { a: 'b' } })
    const unlinked = manifestOf('unlinked', [], { subject: named('image') })
    for (const each of [signature, unlinked, manifestOf('plain', [])]) await index.putManifest(each)
    for (const name of ['signature', 'plain']) {
      await index.putLink({ repository: ours, digest: named(name), isPublic: true })
    }
    await index.putLink({ repository: theirs, digest: named('unlinked'), isPublic: true })

    expect(await index.referrersOf(ours, named('image'))).toEqual([signature])
    expect(await index.referrersOf(ours, named('other'))).toEqual([])
    expect(await index.referrersOf(elsewhere, named('image'))).toEqual([])
  })
}

function userTests(opened: Opened): void {
  test('the users of a layer are the repositories above it, with the tags that lead to it', async () => {
    const index = await opened()
    await index.putManifest(manifestOf('image', ['layer']))
    await index.putManifest(manifestOf('index', ['image'], { mediaType: MEDIA_TYPE.ociIndex }))
    await index.putManifest(manifestOf('other image', ['other layer']))
    for (const name of ['image', 'index', 'other image']) {
      await index.putLink({ repository: ours, digest: named(name), isPublic: true })
    }
    await index.putLink({ repository: elsewhere, digest: named('layer'), isPublic: true })
    await index.putResolution(ours, latest, named('index'), 1)
    await index.putResolution(ours, tagOf('amd64'), named('image'), 1)
    await index.putResolution(ours, tagOf('other'), named('other image'), 1)
    await index.putResolution(ours, tagOf('moved'), named('index'), 1)
    await index.putResolution(ours, tagOf('moved'), named('other image'), 2)

    expect(await index.usersOf(named('layer'))).toEqual([
      { repository: ours, tags: ['amd64', 'latest'] },
      { repository: elsewhere, tags: [] },
    ])
    expect(await index.usersOf(named('index'))).toEqual([{ repository: ours, tags: ['latest'] }])
    expect(await index.usersOf(named('nobody’s'))).toEqual([])
  })

  test('fault 63: manifests that name each other are walked once', async () => {
    const index = await opened()
    await index.putManifest(manifestOf('a', ['b', 'a']))
    await index.putManifest(manifestOf('b', ['a']))
    await index.putLink({ repository: ours, digest: named('a'), isPublic: true })

    expect(await index.usersOf(named('b'))).toEqual([{ repository: ours, tags: [] }])
  })
}

function listingTests(opened: Opened): void {
  const listing = {
    bytes: Buffer.from('{"tags":["a"]}'),
    contentType: 'application/json',
    link: '</v2/x>; rel="next"',
    filters: undefined,
    confirmedMs: 5,
  }

  test('a listing is kept as it came, by its key, until the repository is written to', async () => {
    const index = await opened()
    await index.putListing(ours, 'tags', { ...listing, confirmedMs: 1 })
    await index.putListing(ours, 'tags', listing)
    await index.putListing(elsewhere, 'tags', { ...listing, link: undefined, filters: 'artifactType' })

    expect(await index.findListing(ours, 'tags')).toEqual(listing)
    expect(await index.findListing(ours, 'tags n=1')).toBeUndefined()
    await index.forgetListings(ours)
    expect(await index.findListing(ours, 'tags')).toBeUndefined()
    expect(await index.findListing(elsewhere, 'tags')).toMatchObject({ filters: 'artifactType', link: undefined })
  })

  test('a repository keeps the 64 listings that were confirmed last', async () => {
    const index = await opened()

    for (let number = 0; number < 70; number += 1) {
      await index.putListing(ours, `tags last=${number}`, { ...listing, confirmedMs: number })
    }

    expect(await index.findListing(ours, 'tags last=5')).toBeUndefined()
    expect(await index.findListing(ours, 'tags last=6')).toBeDefined()
    expect(await index.findListing(ours, 'tags last=69')).toBeDefined()
  })
}
