import fc from 'fast-check'
import { findJson } from '../../src/oci/json.ts'
import { readManifest } from '../../src/oci/manifest.ts'
import { MEDIA_TYPE } from '../../src/oci/media-types.ts'
import { rangeOf } from '../../src/registry/range.ts'
import { RangeSet } from '../../src/store/ranges.ts'
import { holds, mustBe, nearly, type Property } from './property.ts'

const WIDE = { depthMax: 32, valuesMax: 300_000, namesMax: 10_000 }

const json = holds('what is within the bounds is read as JSON.parse reads it', fc.json({ maxDepth: 5 }), (text) => {
  mustBe(JSON.stringify(findJson(Buffer.from(text), WIDE)) === JSON.stringify(JSON.parse(text)), 'another value', text)
})

const noJson = holds(
  'what is no JSON is not read, and what is, is',
  nearly(['{', '}', '[', ']', ',', ':', '"', '\\', 'a', '1', '-', 'e', 'null', ' ', '"a"', '{"a":1}', '\\"']),
  (text) => {
    const read = findJson(Buffer.from(text), WIDE)
    mustBe(JSON.stringify(read) === JSON.stringify(parsed(text)), 'another value', text)
  },
)

function parsed(text: string): unknown {
  try {
    return Buffer.from(text).toString() === text && !text.startsWith('\ufeff') ? JSON.parse(text) : undefined
  } catch {
    return undefined // none
  }
}

const depth = holds('the count of depth and values is the document’s', fc.json({ maxDepth: 6 }), (text) => {
  const { depth: depthMax, values } = measured(JSON.parse(text), 0)
  const bounds = { depthMax, valuesMax: values, namesMax: 10_000 }
  mustBe(findJson(Buffer.from(text), bounds) !== undefined, 'refused at the bound', text)
  if (depthMax > 0)
    mustBe(findJson(Buffer.from(text), { ...bounds, depthMax: depthMax - 1 }) === undefined, 'too deep', text)
  if (values > 0)
    mustBe(findJson(Buffer.from(text), { ...bounds, valuesMax: values - 1 }) === undefined, 'too many', text)
})

/** Naively: how deep it nests, and four for each object or list with one for each comma in it. */
function measured(value: unknown, above: number): { readonly depth: number; readonly values: number } {
  if (typeof value !== 'object' || value === null) return { depth: above, values: 0 }
  const below = Object.values(value).map((each) => measured(each, above + 1))
  const own = 4 + Math.max(0, below.length - 1)
  return {
    depth: Math.max(above + 1, ...below.map((each) => each.depth)),
    values: below.reduce((sum, each) => sum + each.values, own),
  }
}

const hex = 'd'.repeat(64)
const field = fc.oneof(
  fc.constantFrom<unknown>(
    1,
    2,
    -1,
    Number.MAX_VALUE,
    2 ** 53,
    0.5,
    '',
    `sha256:${hex}`,
    MEDIA_TYPE.ociIndex,
    null,
    [],
    {},
  ),
  fc.jsonValue({ maxDepth: 2 }),
)
const descriptor = fc.dictionary(fc.constantFrom('digest', 'size', 'mediaType', 'platform', 'urls', '__proto__'), field)
const manifest = fc.dictionary(
  fc.constantFrom('schemaVersion', 'mediaType', 'config', 'layers', 'manifests', 'blobs', 'subject', 'annotations'),
  fc.oneof(field, descriptor, fc.array(descriptor, { maxLength: 3 }), fc.constant(2)),
)

const manifests = holds(
  'a manifest is read, unreadable or refused; what it names has a digest and a size',
  fc.tuple(manifest, fc.option(fc.constantFrom(...Object.values(MEDIA_TYPE), 'x', ''), { nil: undefined })),
  ([document, contentType]) => {
    const reading = readManifest(Buffer.from(JSON.stringify(document)), contentType)
    if (reading.at !== 'read') return
    for (const { digest, sizeBytes } of reading.manifest.children) {
      mustBe(digest === `sha256:${hex}` && Number.isSafeInteger(sizeBytes) && sizeBytes >= 0, 'no child', document)
    }
    const hasBoth = 'manifests' in document && ('layers' in document || 'config' in document)
    mustBe(document['schemaVersion'] === 2 && !hasBoth, 'read, and should not', document)
  },
)

const bytes = holds('no bytes are thrown over', fc.uint8Array({ maxLength: 200 }), (given) => {
  mustBe(['read', 'unreadable', 'refused'].includes(readManifest(given, undefined).at), 'nothing', [...given])
})

const ranges = holds(
  'one range holds what RFC 9110 says of it, byte by byte',
  fc.tuple(nearly(['bytes', '=', '-', ',', ' ', '0', '1', '5', '9', '10', 'x', '99999999999999999'], 6), fc.nat(12)),
  ([text, sizeBytes]) => {
    const header = `bytes=${text}`
    const read = rangeOf(header, sizeBytes)
    const [, first = '', last = ''] = /^[\t ,]*([0-9]{0,16})-([0-9]{0,16})[\t ,]*$/.exec(text) ?? [undefined, '-', '-']
    if (first === '-' || (first === '' && last === ''))
      return mustBe(read.at === 'whole' || read.at === 'several', 'a part', header)
    const all = Array.from({ length: sizeBytes }, (_, at) => at)
    const wanted = all.filter((at) =>
      first === ''
        ? at >= sizeBytes - Number(last)
        : at >= Number(first) && at <= Number(last === '' ? Infinity : last),
    )
    const got = read.at === 'part' ? all.slice(read.start, read.end) : read.at === 'whole' && first === '' ? all : []
    mustBe(String(got) === String(wanted), 'other bytes', [header, sizeBytes, read])
  },
)

const span = fc.tuple(fc.nat(40), fc.nat(8)).map(([start, length]) => ({ start, end: start + length }))
const rangeSet = holds(
  'a set of ranges is a set of bytes',
  fc.tuple(fc.array(span, { maxLength: 20 }), span),
  ([spans, asked]) => {
    const set = RangeSet.of(spans)
    const held = new Set(spans.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, at) => start + at)))
    const within = Array.from({ length: asked.end - asked.start }, (_, at) => asked.start + at)
    mustBe(set.bytes === held.size, 'other bytes', [spans, set.bytes])
    mustBe(set.has(asked.start, asked.end) === within.every((at) => held.has(at)), 'has', [spans, asked])
    const next = [...held].filter((at) => at >= asked.start)
    mustBe(set.findNext(asked.start) === (next.length > 0 ? Math.min(...next) : undefined), 'next', [spans, asked])
    const missing = set
      .gaps(asked.end)
      .flatMap(({ start, end }) => Array.from({ length: end - start }, (_, at) => start + at))
    const absent = Array.from({ length: asked.end }, (_, at) => at).filter((at) => !held.has(at))
    mustBe(String(missing) === String(absent), 'gaps', [spans, asked])
  },
)

export const BODIES: readonly Property[] = [json, noJson, depth, manifests, bytes, ranges, rangeSet]
