import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OciError } from '../../src/base/errors.ts'
import { findResponseHead, HEAD_BYTES_MAX } from '../../src/upstream/response-head.ts'

const read = (text: string) => findResponseHead(Buffer.from(text, 'latin1'))

test('a head is read with its length, its fields and what follows it', () => {
  const text =
    'HTTP/1.1 206 Partial Content\r\nContent-Length: 12\r\nX-A:  b \r\nx-a: c\r\nKeep-Alive: timeout=5\r\n\r\nbody'

  expect(read(text)).toEqual({
    status: 206,
    headers: { 'content-length': '12', 'x-a': ['b', 'c'], 'keep-alive': 'timeout=5' },
    bytes: text.length - 4,
    body: { bytes: 12 },
    isKept: true,
    idleMs: 5000,
  })
})

for (const [text, body, why] of [
  ['HTTP/1.1 200 OK\r\n\r\n', 'other', 'it ends with the connection'],
  ['HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n', 'other', 'chunks tell the end'],
  ['HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', { bytes: 0 }, 'a 204 has no body, whatever it says'],
  ['HTTP/1.1 304 \r\n\r\n', { bytes: 0 }, 'nor has a 304'],
  ['HTTP/1.1 100 Continue\r\n\r\n', 'other', 'it is not the answer yet'],
  ['HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\n', 'other', 'no number of ours'],
] as const) {
  test(`${JSON.stringify(text)}: ${why}`, () => {
    expect(read(text)?.body).toEqual(body)
  })
}

for (const [text, why] of [
  ['HTTP/2 200\r\n\r\n', 'another version'],
  ['ICY 200 OK\r\n\r\n', 'another protocol'],
  ['HTTP/1.1 20 OK\r\n\r\n', 'no status'],
  ['HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n', 'a folded line'],
  ['HTTP/1.1 200 OK\r\nA : b\r\n\r\n', 'a space before the colon'],
  ['HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n', 'a bare line feed'],
  ['HTTP/1.1 200 OK\r\nA: \0\r\n\r\n', 'a control character'],
  ['HTTP/1.1 200 OK\r\n: b\r\n\r\n', 'no name'],
  ['HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n', 'two lengths'],
  ['HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n', 'a length beside chunks'],
  ['HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n', 'a length below zero'],
  ['HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\n', 'a signed length'],
] as const) {
  test(`${JSON.stringify(text)} is refused: ${why}`, () => {
    expect(() => read(text)).toThrow(expect.objectContaining({ fault: 'header' }))
  })
}

test('a connection is kept only by HTTP/1.1, and where nobody says that it is closed', () => {
  const kept = (text: string) => read(`${text}\r\n\r\n`)?.isKept

  expect(kept('HTTP/1.1 200 OK')).toBe(true)
  expect(kept('HTTP/1.0 200 OK\r\nConnection: keep-alive')).toBe(false)
  expect(kept('HTTP/1.1 200 OK\r\nConnection: Upgrade, CLOSE')).toBe(false)
})

test('a head without end is refused at its bound', () => {
  const line = Buffer.from(`HTTP/1.1 200 OK\r\nA: ${'a'.repeat(HEAD_BYTES_MAX)}`)

  expect(findResponseHead(line.subarray(0, HEAD_BYTES_MAX - 1))).toBeUndefined()
  expect(() => findResponseHead(line.subarray(0, HEAD_BYTES_MAX))).toThrow(OciError)
})

test('any bytes are a head, not one yet, or refused with an error of ours', () => {
  const pieces = fc.constantFrom(
    'HTTP/1.1 ',
    '200',
    ' OK',
    '\r\n',
    '\n',
    '\r',
    ':',
    ' ',
    'content-length',
    '4',
    ',',
    '\0',
    'é',
  )
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
      try {
        const head = read(parts.join(''))
        expect(head === undefined || (head.status >= 0 && head.bytes <= parts.join('').length)).toBe(true)
      } catch (error) {
        expect(error).toBeInstanceOf(OciError)
      }
    }),
  )
})
