import fc from 'fast-check'
import { nextQueryOf } from '../../src/cache/pages.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { challengesOf } from '../../src/upstream/challenge.ts'
import { findContentRange } from '../../src/upstream/headers.ts'
import { findResponseHead } from '../../src/upstream/response-head.ts'
import { retryAfterMsOf } from '../../src/upstream/rest.ts'
import { rawServer } from '../support/raw-server.ts'
import { bytesOf, openBlob, upstreamAt } from '../upstream/support.ts'
import { holds, holdsLater, mustBe, nearly, type Property, reasonOr } from './property.ts'

const token = fc.stringMatching(/^[a-z!#$%&'*+.^_`|~0-9-]{1,8}$/)
const quoted = fc.string({ maxLength: 8 }).map((text) => text.replace(/[^\t -~]/g, ''))
const parameter = fc.record({
  name: token,
  value: quoted,
  isQuoted: fc.boolean(),
  around: fc.constantFrom('', ' ', '\t '),
})
const challenge = fc.record({
  scheme: token,
  parameters: fc.uniqueArray(parameter, { selector: ({ name }) => name, maxLength: 3 }),
})
const isToken = (text: string) => /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text)

const challenges = holds(
  'challenges that were written by the grammar are read as they were meant',
  fc.tuple(fc.array(challenge, { minLength: 1, maxLength: 3 }), fc.constantFrom(',', ', ', ' ,, ')),
  ([given, comma]) => {
    const line = given
      .map(({ scheme, parameters }) => {
        const written = parameters.map(({ name, value, isQuoted, around }) => {
          const text = isQuoted || !isToken(value) ? `"${value.replace(/["\\]/g, '\\$&')}"` : value
          return `${name}${around}=${around}${text}`
        })
        return written.length > 0 ? `${scheme} ${written.join(comma)}` : scheme
      })
      .join(comma)
    const read = challengesOf([line]).map(({ scheme, parameters }) => [scheme, [...parameters]])
    const meant = given.map(({ scheme, parameters }) => [scheme, parameters.map(({ name, value }) => [name, value])])
    mustBe(JSON.stringify(read) === JSON.stringify(meant), 'other challenges', [line, read])
  },
)

const anyChallenge = holds(
  'no challenge is thrown over; schemes and names are tokens in lower case',
  fc.array(nearly(['Bearer', ' ', 'realm', '=', '"', 'x', ',', '\\', '\t', 'Basic', 'abc==', 'scope']), {
    maxLength: 3,
  }),
  (lines) => {
    for (const { scheme, parameters } of challengesOf(lines)) {
      for (const name of [scheme, ...parameters.keys()])
        mustBe(isToken(name) && name === name.toLowerCase(), 'no token', lines)
    }
  },
)

const fieldName = fc
  .stringMatching(/^[A-Za-z0-9-]{1,10}$/)
  .filter((name) => !/^(content-length|transfer-encoding)$/i.test(name))
const fieldValue = fc.string({ maxLength: 12 }).map((text) => text.replace(/[^\t -~]/g, '').trim())
const heads = holds(
  'a head that is by the grammar is read once it is whole, wherever it is cut',
  fc.tuple(
    fc.integer({ min: 200, max: 599 }),
    fc.array(fc.tuple(fieldName, fieldValue), { maxLength: 5 }),
    fc.nat(10_000),
  ),
  ([status, fields, length]) => {
    const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const text = `HTTP/1.1 ${status} Fine\r\n${lines}Content-Length: ${length}\r\n\r\n`
    const whole = Buffer.from(`${text}body`)
    for (let cut = 0; cut < text.length; cut += 1)
      mustBe(findResponseHead(whole.subarray(0, cut)) === undefined, 'too early', cut)
    const head = findResponseHead(whole)
    mustBe(head?.bytes === text.length && head.status === status, 'another head', text)
    for (const [name, value] of fields) {
      mustBe([head?.headers[name.toLowerCase()]].flat().includes(value), 'a field is lost', [name, value])
    }
  },
)

const anyHead = holds(
  'what is no head is refused as upstream’s fault, and no length is believed that came twice',
  nearly([
    'HTTP/1.1 ',
    '200',
    ' OK',
    '\r\n',
    '\n',
    'Content-Length',
    ':',
    ' ',
    '5',
    'Transfer-Encoding',
    'chunked',
    '\r\n\r\n',
    '+',
    ',',
  ]),
  (tail) => {
    const text = `HTTP/1.1 200 OK\r\n${tail}\r\n\r\n`
    const head = reasonOr(() => findResponseHead(Buffer.from(text, 'latin1')))
    if (typeof head === 'string') return mustBe(head === 'upstreamFailed', head, text)
    const [own = ''] = text.split('\r\n\r\n')
    const lengths = own.match(/^content-length:/gim)?.length ?? 0
    if (lengths > 1 && head?.body !== 'other') mustBe(head?.status === 204 || head?.status === 304, 'two lengths', text)
  },
)

const BLOB = Buffer.from(Array.from({ length: 5_000 }, (_, at) => at % 251))
const framing = holdsLater(
  'a body comes whole and alone, however its packets are cut, beside whatever follows it',
  fc.tuple(
    fc.nat(BLOB.length),
    fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 20 }),
    fc.boolean(),
  ),
  async ([length, cuts, isFollowed]) => {
    const forged = isFollowed ? 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged' : ''
    await using server = await rawServer((socket) => {
      socket.setNoDelay(true)
      socket.once('data', async () => {
        const head = `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`
        const all = Buffer.concat([Buffer.from(head), BLOB.subarray(0, length), Buffer.from(forged)])
        for (let at = 0, turn = 0; at < all.length; turn += 1) {
          const size = cuts[turn % cuts.length] ?? 1
          socket.write(all.subarray(at, at + size))
          at += size
          await new Promise((resolve) => setImmediate(resolve))
        }
      })
    })
    await using upstream = upstreamAt(`http://127.0.0.1:${server.port}`)
    const got = await bytesOf(await openBlob(upstream, digestOf(BLOB)))
    mustBe(got.equals(BLOB.subarray(0, length)), 'another body', [length, got.length])
  },
)

const told = holds(
  'what upstream tells of parts, waits and pages is read or not, and never thrown',
  nearly([
    'bytes ',
    '0',
    '-',
    '9',
    '/',
    '*',
    '10',
    '<',
    '>',
    ';',
    ' rel="next"',
    '?',
    'n=1',
    'Thu, 01 Jan 1970 00:00:00 GMT',
    '99999',
  ]),
  (text) => {
    const range = findContentRange(text)
    if (range) mustBe(range.start < range.end && range.end <= (range.sizeBytes ?? Infinity), 'no range', [text, range])
    const ms = retryAfterMsOf(text, 0)
    mustBe(ms >= 1_000 && ms <= 300_000, 'no wait', [text, ms])
    nextQueryOf(text)
  },
)

export const WIRE: readonly Property[] = [challenges, anyChallenge, heads, anyHead, told, framing]
