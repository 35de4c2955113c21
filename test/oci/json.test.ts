import { expect, test } from 'vitest'
import { MIB } from '../../src/base/units.ts'
import { findJson } from '../../src/oci/json.ts'
import { readManifest } from '../../src/oci/manifest.ts'

const BOUNDS = { depthMax: 3, valuesMax: 20, namesMax: 4 }
const read = (text: string | Buffer): unknown => findJson(Buffer.from(text), BOUNDS)

for (const [text, isRead, why] of [
  ['[[[1]]]', true, 'three deep'],
  ['[[[[1]]]]', false, 'four deep'],
  ['{"a":{"b":{"c":1}}}', true, 'objects three deep'],
  ['[[],[],[],1]', true, '19: three lists in one, and three commas'],
  ['[[],[],[],1,2]', true, '20'],
  ['[[],[],[],1,2,3]', false, '21'],
  ['{"a":1,"b":1,"c":1,"d":1}', true, 'four names'],
  ['{"a":1,"b":1,"c":1,"d":1,"e":1}', false, 'five names'],
  ['[{"a":1},{"a" :1},{"a"\n:1}]', true, 'one name, three times'],
  ['["a","b","c","d","e","f"]', true, 'texts are no names'],
  ['["[[[[[[","\\"[[[[[[","\\\\"]', true, 'brackets in a text open nothing'],
  ['["\\\\",[[["x"]]]]', false, 'a text ends behind an escaped backslash'],
  ['[1', false, 'no JSON'],
  ['"', false, 'half a text'],
  ['', false, 'nothing'],
  ['\ufeff[]', false, 'a byte order mark'],
] as const) {
  test(`fault 60: ${JSON.stringify(text)} is ${isRead ? '' : 'not '}read: ${why}`, () => {
    expect(read(text)).toEqual(isRead ? JSON.parse(text) : undefined)
  })
}

test('what is not UTF-8 is not read', () => {
  expect(read(Buffer.from([0x22, 0xff, 0x22]))).toBeUndefined()
})

const filled = (open: string, each: (at: number) => string, close: string): string => {
  const parts = [open]
  for (let at = 0, length = open.length; length < 4 * MIB - 64; at += 1) {
    const part = `${at === 0 ? '' : ','}${each(at)}`
    parts.push(part)
    length += part.length
  }
  return parts.join('') + close
}

const BOMBS = {
  'keys that all differ': filled('{"schemaVersion":2', (at) => `${at === 0 ? ',' : ''}"k${at.toString(36)}":1`, '}'),
  'keys that differ in small objects': filled(
    '{"schemaVersion":2,"layers":[',
    (at) => `{"${at.toString(36)}":1}`,
    ']}',
  ),
  'keys that are numbers': filled('{"schemaVersion":2', (at) => `${at === 0 ? ',' : ''}"${at}":1`, '}'),
  'nesting of lists': '['.repeat(2 * MIB) + ']'.repeat(2 * MIB),
  'nesting of objects': '{"a":'.repeat(600_000) + 1 + '}'.repeat(600_000),
  'empty objects': filled('{"schemaVersion":2,"layers":[', () => '{}', ']}'),
  'short numbers': filled('{"schemaVersion":2,"layers":[', () => '1', ']}'),
  'long numbers': filled('{"schemaVersion":2,"layers":[', () => '0.1234567890123456789012345678901', ']}'),
  'escapes in a text': filled('{"schemaVersion":2,"layers":["', () => '\\u0041\\n\\"', '"]}'),
  'texts that differ': filled('{"schemaVersion":2,"layers":[', (at) => `"${at.toString(36)}"`, ']}'),
  'names that come again': filled('{"schemaVersion":2,"layers":[', () => '{"a":1,"b":2}', ']}'),
}

// The processor's time, since others may keep this process waiting. Unbounded, some of these took a second.
for (const [what, text] of Object.entries(BOMBS)) {
  test(`fault 60: 4 MiB of ${what} cost a tenth of a second at the most`, () => {
    const bytes = Buffer.from(text)
    readManifest(bytes, undefined)

    const before = process.cpuUsage()
    const reading = readManifest(bytes, undefined)
    const { user, system } = process.cpuUsage(before)

    expect(reading.at).toBe('unreadable')
    expect((user + system) / 1000).toBeLessThan(100)
  })
}

test('a manifest of 10,000 descriptors with every field is read', () => {
  const layer = (at: number) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
    digest: `sha256:${at.toString(16).padStart(64, '0')}`,
    size: at,
    platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
    annotations: { a: '1', b: '2', c: '3', d: '4' },
  })
  const document = { schemaVersion: 2, layers: Array.from({ length: 10_000 }, (_, at) => layer(at)) }

  expect(readManifest(Buffer.from(JSON.stringify(document)), undefined)).toMatchObject({ at: 'read' })
})
