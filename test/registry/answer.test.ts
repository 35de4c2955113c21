import { parseItem } from 'structured-headers'
import { expect, test } from 'vitest'
import { OciError } from '../../src/base/errors.ts'
import { cacheStatusOf, errorAnswerOf, factsOfError } from '../../src/registry/answer.ts'

for (const [facts, want] of [
  [{ hit: true }, 'millpond; hit'],
  [{ hit: true, ttlS: 30 }, 'millpond; hit; ttl=30'],
  [{ hit: true, ttlS: -30 }, 'millpond; hit; ttl=-30'],
  [
    { hit: false, fwd: 'uri-miss', fwdStatus: 200, stored: true, collapsed: true },
    'millpond; fwd=uri-miss; fwd-status=200; stored; collapsed',
  ],
  [{ hit: false, fwd: 'stale', fwdStatus: 503 }, 'millpond; fwd=stale; fwd-status=503'],
  [{ hit: false, fwd: 'stale', detail: 'local' }, 'millpond; fwd=stale; detail=local'],
  [{ hit: true, detail: 'two words "quoted"' }, 'millpond; hit; detail="two words \\"quoted\\""'],
  [{ hit: false, detail: 'caf\u00e9\r\n' }, 'millpond; detail="caf???"'],
] as const) {
  test(`Cache-Status of ${JSON.stringify(facts)} is ${want}, as RFC 9211 reads it`, () => {
    const text = cacheStatusOf(facts)

    expect(text).toBe(want)
    expect(String(parseItem(text)[0])).toBe('millpond')
  })
}

test('an error is JSON of the specification, with its own length', () => {
  const { status, head, body } = errorAnswerOf(new OciError('blobUnknown', 'no such "blob"'))

  expect(status).toBe(404)
  expect(JSON.parse(body.toString())).toEqual({ errors: [{ code: 'BLOB_UNKNOWN', message: 'no such "blob"' }] })
  expect(head).toEqual(['Content-Type', 'application/json', 'Content-Length', String(body.length)])
})

for (const [reason, retryAfterMs, want] of [
  ['accountSpent', undefined, '5'],
  ['accountSpent', 120_000, '5'],
  ['accountSpent', 1_200, '2'],
  ['accountSpent', 0, '1'],
  ['upstreamResting', 60_000, '5'],
  ['overloaded', undefined, '5'],
  ['upstreamFailed', 60_000, undefined],
] as const) {
  test(`fault 15: ${reason} with ${retryAfterMs} ms to wait tells clients Retry-After ${want}`, () => {
    const { head } = errorAnswerOf(new OciError(reason, 'x', { ...(retryAfterMs !== undefined && { retryAfterMs }) }))

    const at = head.indexOf('Retry-After')
    expect(at < 0 ? undefined : head[at + 1]).toBe(want)
  })
}

test('a method that is not taken says which are', () => {
  expect(errorAnswerOf(new OciError('methodUnsupported', 'x')).head.join()).toContain('Allow,GET, HEAD')
})

test("an upstream's failure says that it was asked; our own refusal does not", () => {
  expect(cacheStatusOf(factsOfError(new OciError('upstreamFailed', 'x', { fault: 'connect' })))).toBe(
    'millpond; fwd=uri-miss; detail=connect',
  )
  const told = new OciError('upstreamFailed', 'x', { fault: 'status', upstreamStatus: 503 })
  expect(cacheStatusOf(factsOfError(told))).toBe('millpond; fwd=uri-miss; fwd-status=503; detail=status')
  expect(cacheStatusOf(factsOfError(new OciError('nameInvalid', 'x')))).toBe('millpond; detail=nameInvalid')
})
