import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OciError } from '../../src/base/errors.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { rawServer } from '../support/raw-server.ts'
import { bytesOf, latest, never, openBlob, path, upstreamAt } from './support.ts'

const digest = digestOf(Buffer.from('hello'))
const timeouts = { connect: '200ms', headers: '100ms', idle: '100ms' }

const status = fc.constantFrom('200', '206', '401', '403', '404', '416', '429', '307', '204', '100', '500', '999', 'x')
const header = fc.constantFrom(
  'Content-Length: 5',
  'Content-Length: 6',
  'Content-Length: -1',
  'Content-Length: 99999999999999999999',
  'Content-Range: bytes 1-5/6',
  'Content-Range: bytes 1-3/*',
  'Content-Range: bytes */0',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: gzip',
  'Content-Encoding: gzip',
  'Content-Type: application/vnd.oci.image.index.v1+json',
  'Docker-Content-Digest: sha256:x',
  'WWW-Authenticate: Bearer realm="HERE/token",scope="x"',
  'WWW-Authenticate: Bearer realm="',
  'WWW-Authenticate: Basic',
  'Location: HERE/x',
  'Location: //',
  'Retry-After: -1',
  'Connection: close',
  'Connection: upgrade',
  'Keep-Alive: timeout=0',
  'Upgrade: h2c',
  '__proto__: x',
  'Broken',
  ': empty',
  'Link: <x',
)
const body = fc.constantFrom(
  'hello',
  'hell',
  'hello!',
  '',
  '5\r\nhello\r\n0\r\n\r\n',
  '5\r\nhello',
  '{"token":"t"}',
  '\0\x01',
)
const more = fc.constantFrom(
  '',
  'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil',
  '\r\n\r\n',
  'HTTP/1.1',
  'x'.repeat(70_000),
)
const ending = fc.constantFrom('stay', 'fin', 'reset')
const answer = fc.record({ status, headers: fc.array(header, { maxLength: 5 }), body, more, ending, cut: fc.nat(400) })
type Answer = typeof answer extends fc.Arbitrary<infer T> ? T : never

function rawOf({ status: code, headers, body: text, more: surplus, cut }: Answer, origin: string): string {
  const head = [`HTTP/1.1 ${code} Told`, ...headers].join('\r\n').replaceAll('HERE', origin)
  return `${head}\r\n\r\n${text}${surplus}`.slice(0, cut > 350 ? undefined : cut)
}

/** What an ask came to; it must come to something, and to nothing but a value or an OciError. */
async function outcomeOf(asking: Promise<unknown>): Promise<string> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error('never ended')), 5_000)
  try {
    await Promise.race([asking, late.promise])
    return 'value'
  } catch (error) {
    return error instanceof OciError ? 'OciError' : String(error)
  } finally {
    clearTimeout(timer)
  }
}

test('whatever a server answers, an ask ends soon, as a value or an OciError', async () => {
  let answers: readonly Answer[] = []
  let asked = 0
  await using server = await rawServer((socket) => {
    socket.on('data', () => {
      const told = answers[asked++ % Math.max(1, answers.length)]
      if (!told) return void socket.end('HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n')
      socket.write(rawOf(told, `http://127.0.0.1:${server.port}`))
      if (told.ending === 'fin') socket.end()
      if (told.ending === 'reset') socket.resetAndDestroy()
    })
  })
  await fc.assert(
    fc.asyncProperty(fc.array(answer, { minLength: 1, maxLength: 3 }), async (script) => {
      answers = script
      asked = 0
      await using upstream = upstreamAt(`http://127.0.0.1:${server.port}`, { config: { timeouts } })
      const blob = async (start: number) => {
        const told = await openBlob(upstream, digest, start)
        return told.at === 'found' ? await bytesOf(told) : told
      }
      const asks = [
        upstream.getManifest(path, latest, never),
        upstream.headManifest(path, latest, never),
        upstream.headBlob(path, digest, never),
        upstream.getTags(path, { n: 5 }, never),
        blob(0),
        blob(1),
      ]
      const outcomes = await Promise.all(asks.map(outcomeOf))
      expect(outcomes.filter((outcome) => outcome !== 'value' && outcome !== 'OciError')).toEqual([])
    }),
    { numRuns: 60, endOnFailure: true, interruptAfterTimeLimit: 15_000 },
  )
})
