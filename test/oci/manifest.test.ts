import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MANIFEST_BYTES_MAX, type Manifest, readManifest } from '../../src/oci/manifest.ts'
import { essenceOf, MANIFEST_ACCEPT, MEDIA_TYPE } from '../../src/oci/media-types.ts'

const digest = (letter: string) => `sha256:${letter.repeat(64)}`
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest('c'), size: 7 }
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digest('1'), size: 42 }
const image = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest as string, config, layers: [layer] }
const child = {
  mediaType: MEDIA_TYPE.ociManifest,
  digest: digest('d'),
  size: 9,
  platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
}
const index = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex as string, manifests: [child] }

const bytesOf = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
const read = (value: unknown, contentType?: string) => readManifest(bytesOf(value), contentType)

function manifestIn(value: unknown, contentType?: string): Manifest {
  const reading = read(value, contentType)
  if (reading.at !== 'read') throw new Error(`it was ${reading.at}`)
  return reading.manifest
}

test('an image names its config first and then its layers', () => {
  const { children, isIndex, mediaType } = manifestIn(image, MEDIA_TYPE.ociManifest)

  expect(children.map((each) => [each.digest, each.sizeBytes])).toEqual([
    [config.digest, 7],
    [layer.digest, 42],
  ])
  expect({ isIndex, mediaType }).toEqual({ isIndex: false, mediaType: MEDIA_TYPE.ociManifest })
})

test('an index names its manifests with their platforms', () => {
  const { children, isIndex } = manifestIn(index, MEDIA_TYPE.ociIndex)

  expect(isIndex).toBe(true)
  expect(children[0]).toMatchObject({
    digest: child.digest,
    platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
  })
})

test('an artifact tells its subject, its type and its annotations; without a type, it is of its config', () => {
  const artifact = { ...image, subject: child, artifactType: 'application/sbom', annotations: { a: 'b', n: 5 } }

  expect(manifestIn(artifact)).toMatchObject({ artifactType: 'application/sbom', annotations: { a: 'b' } })
  expect(manifestIn(artifact).subject?.digest).toBe(child.digest)
  expect(manifestIn(image).artifactType).toBe(config.mediaType)
})

describe('its media type', () => {
  for (const [told, inside, want, why] of [
    [MEDIA_TYPE.ociManifest, undefined, MEDIA_TYPE.ociManifest, 'told alone'],
    ['application/json', MEDIA_TYPE.dockerManifest, MEDIA_TYPE.dockerManifest, 'a generic one is no contradiction'],
    [undefined, MEDIA_TYPE.dockerManifest, MEDIA_TYPE.dockerManifest, 'nor is a missing one'],
    ['application/octet-stream', undefined, MEDIA_TYPE.ociManifest, 'neither: what the fields look like'],
    [`${MEDIA_TYPE.ociManifest}; charset=utf-8`, undefined, MEDIA_TYPE.ociManifest, 'parameters are dropped'],
    ['APPLICATION/VND.OCI.IMAGE.MANIFEST.V1+JSON', undefined, MEDIA_TYPE.ociManifest, 'case is none'],
  ] as const) {
    test(`is ${want}, told ${told} and ${inside} inside: ${why}`, () => {
      expect(manifestIn({ ...image, mediaType: inside }, told).mediaType).toBe(want)
    })
  }

  test('is an index where it holds manifests and nobody says more', () => {
    expect(manifestIn({ schemaVersion: 2, manifests: [child] }, 'text/plain').mediaType).toBe(MEDIA_TYPE.ociIndex)
  })
})

describe('fault 62: refused is', () => {
  for (const [what, value, contentType] of [
    ['both manifests and layers', { ...index, layers: [layer] }, undefined],
    ['both manifests and a config', { ...index, config }, undefined],
    ['a Content-Type other than the mediaType inside', image, MEDIA_TYPE.dockerManifest],
    ['an index told as an image', { schemaVersion: 2, manifests: [child] }, MEDIA_TYPE.ociManifest],
    ['an image told as an index', { schemaVersion: 2, layers: [layer] }, MEDIA_TYPE.ociIndex],
    ['schema 1 by its version', { schemaVersion: 1, fsLayers: [] }, undefined],
    ['schema 1 by its Content-Type', image, MEDIA_TYPE.dockerSchema1Signed],
  ] as const) {
    test(what, () => {
      const reading = read(value, contentType)

      expect(reading.at).toBe('refused')
      if (reading.at === 'refused') expect(reading.error.answer).toEqual([400, 'MANIFEST_INVALID'])
    })
  }
})

describe('fault 61: unreadable, and no more than that, is', () => {
  const withSize = (size: string) => JSON.stringify(image).replace('"size":42', `"size":${size}`)

  for (const [what, value] of [
    ['nothing', ''],
    ['a login page', '<html><body>sign in</body></html>'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a text', '"x"'],
    ['an object without schemaVersion', '{}'],
    ['a schemaVersion that is a text', { ...image, schemaVersion: '2' }],
    ['a byte order mark', `\ufeff${JSON.stringify(image)}`],
    ['a size of 1e400', withSize('1e400')],
    ['a size of 2^53 + 1', withSize('9007199254740993')],
    ['a negative size', withSize('-1')],
    ['half a byte', withSize('1.5')],
    ['a size that is a text', withSize('"42"')],
    ['a layer without a digest', { ...image, layers: [{ size: 1 }] }],
    ['a layer of an unknown algorithm', { ...image, layers: [{ ...layer, digest: `md5:${'a'.repeat(32)}` }] }],
    ['a layer that is null', { ...image, layers: [null] }],
    ['a prototype as schemaVersion', '{"__proto__":{"schemaVersion":2,"layers":[]}}'],
  ] as const) {
    test(what, () => {
      expect(read(value).at).toBe('unreadable')
    })
  }

  test('bytes that are no UTF-8', () => {
    const bytes = Buffer.concat([bytesOf('{"schemaVersion":2,"x":"'), Buffer.from([0xff]), bytesOf('"}')])

    expect(readManifest(bytes, undefined).at).toBe('unreadable')
  })

  test('more than 4 MiB, and not one byte less', () => {
    const padded = (length: number) => Buffer.from(JSON.stringify(image).padEnd(length))

    expect(readManifest(padded(MANIFEST_BYTES_MAX), undefined).at).toBe('read')
    expect(readManifest(padded(MANIFEST_BYTES_MAX + 1), undefined).at).toBe('unreadable')
  })

  test('more than 10,000 descriptors', () => {
    const layers = Array.from({ length: 10_001 }, () => layer)

    expect(read({ ...image, config: undefined, layers: layers.slice(1) }).at).not.toBe('refused')
    expect(read({ ...image, layers }).at).toBe('unreadable')
  })
})

test('fault 61: of keys that stand twice the last holds, as for every client', () => {
  const text = JSON.stringify(image).replace('"schemaVersion":2', '"schemaVersion":1,"schemaVersion":2')

  expect(read(text).at).toBe('read')
})

test('fault 61: __proto__ is a key like any other, and changes nothing that is not its own', () => {
  const text = JSON.stringify({ ...image, annotations: {} }).replace(
    '"annotations":{}',
    '"annotations":{"__proto__":"x","a":"b"}',
  )

  const { annotations = {} } = manifestIn(text)
  expect(Object.hasOwn(annotations, '__proto__')).toBe(true)
  expect(Object.getPrototypeOf(annotations)).toBe(Object.prototype)
  expect(Reflect.get({}, 'a')).toBeUndefined()
})

test('fault 64: the urls of a foreign layer are not even read', () => {
  const foreign = { ...layer, urls: ['http://169.254.169.254/'] }

  expect(JSON.stringify(manifestIn({ ...image, layers: [foreign] }))).not.toContain('169.254')
})

test('whatever comes, it is read, unreadable or refused, and never thrown', () => {
  const json = fc.json({ maxDepth: 4 })
  const near = fc
    .record(
      {
        schemaVersion: fc.constantFrom(1, 2, '2'),
        layers: fc.jsonValue(),
        manifests: fc.jsonValue(),
        config: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    .map((value) => JSON.stringify(value))

  fc.assert(
    fc.property(fc.oneof(json, near, fc.string()), fc.option(fc.string(), { nil: undefined }), (text, contentType) => {
      expect(['read', 'unreadable', 'refused']).toContain(readManifest(Buffer.from(text), contentType).at)
    }),
    { numRuns: 500 },
  )
})

test('one Accept names every form, and anything after them', () => {
  expect(MANIFEST_ACCEPT.split(', ')).toEqual([
    MEDIA_TYPE.ociIndex,
    MEDIA_TYPE.ociManifest,
    MEDIA_TYPE.dockerList,
    MEDIA_TYPE.dockerManifest,
    MEDIA_TYPE.artifactManifest,
    '*/*;q=0.1',
  ])
})

test('the essence of a Content-Type has neither parameters nor case', () => {
  expect(essenceOf(' Text/HTML ; charset=utf-8')).toBe('text/html')
  expect(essenceOf('')).toBe('')
})
