import fc from 'fast-check'
import { readHtpasswd } from '../../src/base/htpasswd.ts'
import { findDigest } from '../../src/oci/digest.ts'
import { essenceOf } from '../../src/oci/media-types.ts'
import { findRegistryHost, parseReference, parseRepositoryPath } from '../../src/oci/names.ts'
import { findBasic } from '../../src/registry/basic.ts'
import { upstreamPathOf } from '../../src/registry/passing.ts'
import { isMatch } from '../../src/registry/range.ts'
import { parseRequest } from '../../src/registry/request.ts'
import { RULES, registriesOf } from '../registry/support.ts'
import { holds, mustBe, nearly, type Property, reasonOr } from './property.ts'

const HEX = 'd'.repeat(64)
const LONG_HEX = 'e'.repeat(128)
const DIGEST_PIECES = ['sha256', 'sha512', ':', HEX, LONG_HEX, 'sha384', 'D', 'd', '+', '0', HEX.slice(1)]
const NAME_PIECES = ['a', 'z9', '.', '_', '__', '-', '---', '/', '..', 'A', '%', 'library', 'x'.repeat(100)]

/** The specification's own expression, at once rather than part by part. */
const NAME = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
const DIGEST = /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/

const names = holds("a repository's name is what the specification says", nearly(NAME_PIECES), (text) => {
  const isName = text.length <= 255 && NAME.test(text)
  mustBe(reasonOr(() => parseRepositoryPath(text)) === (isName ? text : 'nameInvalid'), 'another verdict', text)
})

const digests = holds('a digest is sha256 or sha512 in lower-case hex, whole', nearly(DIGEST_PIECES, 4), (text) => {
  mustBe(findDigest(text) === (DIGEST.test(text) ? text : undefined), 'another verdict', text)
})

const references = holds(
  'a reference is a digest, a tag, or refused as one of them',
  nearly([...DIGEST_PIECES, ...NAME_PIECES, 'v1.0', 't'.repeat(64)], 5),
  (text) => {
    const found = reasonOr(() => parseReference(text))
    if (DIGEST.test(text))
      mustBe(typeof found === 'object' && 'digest' in found && found.digest === text, 'no digest', text)
    else if (text.includes(':')) mustBe(found === 'digestInvalid', 'a colon, and no digest', text)
    else if (TAG.test(text)) mustBe(typeof found === 'object' && 'tag' in found && found.tag === text, 'no tag', text)
    else mustBe(found === 'manifestUnknown', 'a tag that is none', text)
  },
)

const hosts = holds(
  'a registry host names nothing but a host',
  nearly(['a', 'Z', '.', '-', ':', '5000', '[', ']', '::1', '/', '@', '%']),
  (text) => {
    const found = findRegistryHost(text)
    if (found === undefined) return
    mustBe(found === text.toLowerCase() && /^[a-z0-9.:[\]-]+$/.test(found), 'more than a host', text)
    mustBe(URL.canParse(`https://${found}`), 'no host of a URL', text)
  },
)

const registries = registriesOf(['docker.io', RULES], ['ghcr.io', { ...RULES, push: true }])
const urls = nearly(
  [
    '/',
    '/v2',
    '/v2/',
    'ghcr.io',
    'a',
    '/a/b',
    '/manifests/',
    '/blobs/',
    '/uploads/',
    '/tags/list',
    '/referrers/',
    'v1',
  ].concat([
    `sha256:${HEX}`,
    '%2e',
    '%2F',
    '%00',
    '..',
    '//',
    '\\',
    '?',
    'ns=',
    '&',
    '=',
    '#',
    '%',
    '%E2%80%A8',
    '\u0085',
  ]),
)

const requests = holds(
  'a URL has a meaning or is refused; a meaning leads upstream by parsed parts alone',
  fc.tuple(urls, fc.option(nearly(['ghcr.io', ':', '443', '.', 'a']), { nil: undefined })),
  ([tail, host]) => {
    const asked = reasonOr(() => parseRequest(`/v2/${tail}`, host, registries))
    if (typeof asked === 'string') mustBe(/Invalid|notServed|nameUnknown|manifestUnknown/.test(asked), asked, tail)
    else if ('target' in asked) mustBe(NAME.test(asked.target.repository.path), 'no name', tail)
    if (typeof asked === 'string' || !('target' in asked)) return
    if (asked.route === 'tags' || asked.route === 'referrers') return
    const [path = ''] = upstreamPathOf(asked, `/v2/${tail}`).split('?')
    mustBe(path.startsWith(`/v2/${asked.target.repository.path}/`), 'another repository', path)
    const climbed = new URL(path, 'http://upstream.test').pathname
    mustBe(climbed === path, 'a path that a client would tidy', path)
  },
)

const tags = holds(
  'entity tags and media types are compared and never thrown',
  nearly(['"', 'W/', ',', ' ', '*', HEX, ';', '/', 'q=']),
  (text) => {
    const wanted = text.split(',').some((each) => each.trim().replace(/^W\//, '') === '"x"') || text.trim() === '*'
    mustBe(isMatch(text, '"x"') === wanted, 'another verdict', text)
    mustBe(!essenceOf(text).includes(';'), 'a parameter', text)
  },
)

const bcrypt = `$2y$05$${'a'.repeat(53)}`
const htpasswd = holds(
  'a password file is read as its lines say, or refused without a word of them',
  fc.array(nearly(['u', 'v', ':', bcrypt, '\r', '#', ' ', '{SHA}x', '$2y$99$'], 4), { maxLength: 6 }),
  (lines) => {
    const read = readHtpasswd(lines.join('\n'))
    if (read.at === 'wrong') return mustBe(!read.says.includes('$2y$05'), 'a hash is told', read.says)
    for (const [name, hash] of read.value) {
      mustBe(name !== '' && !name.includes(':') && hash === bcrypt, 'no name or no hash', [name, hash])
      mustBe(
        lines.some((line) => line.split('\n').some((each) => each.trim() === `${name}:${hash}`)),
        'not there',
        name,
      )
    }
  },
)

const basic = holds(
  'credentials come out of Basic as they went in',
  fc.tuple(fc.string({ minLength: 1 }), fc.string()),
  ([username, password]) => {
    const name = username.replaceAll(':', '') || 'u'
    const header = `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
    const found = findBasic(header)
    mustBe(found?.username === name && found.password === password, 'others', found)
  },
)

export const GRAMMARS: readonly Property[] = [
  ...[names, digests, references, hosts, requests, tags, htpasswd, basic],
  holds(
    'no Authorization is thrown over',
    nearly(['Basic ', 'bearer ', 'YTpi', '=', ':', ',', ' ']),
    (text) => void findBasic(text),
  ),
]
