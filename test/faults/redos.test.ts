import { expect, test } from 'vitest'
import { readHtpasswd } from '../../src/base/htpasswd.ts'
import { scrubbed } from '../../src/base/log.ts'
import { nextQueryOf } from '../../src/cache/pages.ts'
import { findDigest } from '../../src/oci/digest.ts'
import { essenceOf } from '../../src/oci/media-types.ts'
import { findRegistryHost, parseReference, parseRepositoryPath } from '../../src/oci/names.ts'
import { findBasic } from '../../src/registry/basic.ts'
import { isMatch, rangeOf } from '../../src/registry/range.ts'
import { parseRequest } from '../../src/registry/request.ts'
import { challengesOf } from '../../src/upstream/challenge.ts'
import { findContentRange } from '../../src/upstream/headers.ts'
import { findResponseHead } from '../../src/upstream/response-head.ts'
import { retryAfterMsOf } from '../../src/upstream/rest.ts'
import { reasonOr } from '../fuzz/property.ts'
import { RULES, registriesOf } from '../registry/support.ts'

const registries = registriesOf(['docker.io', RULES], ['ghcr.io', RULES])

/** Everything that reads a stranger's text by a grammar. */
const READERS: Readonly<Record<string, (text: string) => unknown>> = {
  "a repository's name": parseRepositoryPath,
  'a reference': parseReference,
  'a digest': findDigest,
  'a registry host': findRegistryHost,
  'a path': (text) => parseRequest(`/v2/${text}/manifests/1`, 'x', registries),
  'the last part of a path': (text) => parseRequest(`/v2/a/blobs/${text}`, 'x', registries),
  'a query': (text) => parseRequest(`/v2/a/tags/list?ns=${text}&n=${text}`, 'x', registries),
  'a Host': (text) => parseRequest('/v2/a/tags/list', text, registries),
  'a Range': (text) => rangeOf(`bytes=${text}`, 1_000),
  'an If-None-Match': (text) => isMatch(text, '"x"'),
  'a Content-Type': essenceOf,
  'an Authorization': findBasic,
  'a Basic Authorization': (text) => findBasic(`Basic ${text}`),
  'a password file': readHtpasswd,
  'a challenge': (text) => challengesOf([text, `Bearer ${text}`, `Bearer realm="${text}`]),
  'a Content-Range': findContentRange,
  'a Retry-After': (text) => retryAfterMsOf(text, 0),
  'a Link': nextQueryOf,
  'the head of an answer': (text) => findResponseHead(Buffer.from(`HTTP/1.1 200 OK\r\nX: ${text}\r\n\r\n`, 'latin1')),
  'a line of the log': scrubbed,
}

/** What makes a careless expression go back and forth. */
const PIECES = [
  'a',
  'a-',
  '-',
  'a.',
  '__',
  'a/',
  '/',
  '../',
  '%2f',
  '%',
  ' ',
  '\t',
  ',',
  '=',
  '"',
  '\\',
  'a=',
  'a=b,',
  ';',
  '<',
  '>,',
  '0',
  '0-',
  '0-1,',
  ':',
  'Bearer ',
  'http://',
  'https://a@',
  'https://a?',
  '[',
  'W/"',
  '\r\n',
  'A',
] as const

for (const [what, read] of Object.entries(READERS)) {
  test(`fault 59: 16 KiB of anything as ${what} take 5 ms at the most`, () => {
    for (const piece of PIECES) {
      // 16 KiB, and less than any length that is looked at before an expression is
      for (const text of [16_384, 250, 120, 60].flatMap((length) => endingsOf(piece, length))) {
        const ms = Math.min(
          cpuMs(() => read(text)),
          cpuMs(() => read(text)),
          cpuMs(() => read(text)),
        )
        expect(ms, JSON.stringify(piece)).toBeLessThan(5)
      }
    }
  })
}

const endingsOf = (piece: string, length: number): readonly string[] => {
  const text = piece.repeat(length / piece.length)
  return [text, `${text.slice(0, -1)}!`]
}

/** The processor's time: others may keep this process waiting. */
function cpuMs(act: () => unknown): number {
  const before = process.cpuUsage()
  reasonOr(act)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}
