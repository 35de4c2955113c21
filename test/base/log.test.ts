import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Secret } from '../../src/base/config.ts'
import { OciError } from '../../src/base/errors.ts'
import { type LogOptions, openLog, scrubbed } from '../../src/base/log.ts'

async function logged(write: (log: Awaited<ReturnType<typeof openLog>>) => void, more: Partial<LogOptions> = {}) {
  const lines: string[] = []
  write(await openLog({ level: 'info', isPretty: false, to: { write: (line) => void lines.push(line) }, ...more }))
  return lines
}

test('a line is one JSON object with level, time and sentence', async () => {
  const [line = ''] = await logged((log) => log.info({ upstream: 'ghcr.io' }, 'a fill began'))

  expect(JSON.parse(line)).toMatchObject({ level: 'info', upstream: 'ghcr.io', msg: 'a fill began' })
  expect(JSON.parse(line).time).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/)
})

test('what is below the level is not written', async () => {
  expect(await logged((log) => log.debug({}, 'a detail'))).toEqual([])
  expect(await logged((log) => log.error({}, 'a failure'), { level: 'silent' })).toEqual([])
})

test('an error is told with what caused it, and its stack only where nobody expected it', async () => {
  const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
  const error = new OciError('upstreamFailed', 'upstream failed', { cause, fault: 'connect' })
  const [expected = '', unexpected = ''] = await logged((log) => {
    log.warn({ error }, 'failed')
    log.warn({ err: new TypeError('x is undefined') }, 'failed')
  })

  expect(JSON.parse(expected).error).toEqual({
    name: 'OciError',
    message: 'upstream failed',
    fault: 'connect',
    reason: 'upstreamFailed',
    cause: { name: 'Error', message: 'connect ECONNREFUSED', code: 'ECONNREFUSED' },
  })
  expect(JSON.parse(unexpected).err.stack).toContain('log.test.ts')
})

test('an error that is its own cause is told, and ends', async () => {
  const error = new Error('round')
  error.cause = error

  expect(await logged((log) => log.warn({ error }, 'failed'))).toHaveLength(1)
})

const SECRET_FACTS = {
  password: 'canary',
  headers: { authorization: 'canary', 'set-cookie': 'canary' },
  deep: { request: { cookie: 'canary', token: 'canary' } },
  secret: new Secret('canary'),
  url: 'https://cdn.example/blob?X-Amz-Signature=canary&x=y',
  odd: 'at "https://cdn.example/blob?x=\\y&X-Amz-Signature=canary" it failed',
  account: 'https://bot:canary@registry.example/v2/',
  header: 'Bearer canary-canary-canary',
  error: new Error('GET https://cdn.example/blob?sig=canary failed: Basic Y2FuYXJ5OmNhbmFyeQcanary=='),
}

for (const isPretty of [false, true]) {
  test(`fault 80: no secret is written, ${isPretty ? 'for a person' : 'for a machine'}`, async () => {
    const told = (
      await logged((log) => log.error(SECRET_FACTS, 'failed at https://a.b/c?d=canary'), { isPretty })
    ).join('')

    expect(told).toContain('failed at')
    expect(told).toContain('cdn.example/blob')
    expect(told).not.toContain('canary')
  })
}

test('whatever was scrubbed is still JSON', () => {
  const urls = fc.webUrl({ withQueryParameters: true, withFragments: true })

  fc.assert(
    fc.property(fc.oneof(urls, fc.string()), (text) => {
      const told: unknown = JSON.parse(scrubbed(JSON.stringify({ text, after: 1 })))

      expect(told).toMatchObject({ after: 1 })
    }),
  )
})

test('fault 68: a line break or an escape of a stranger starts no line of its own', async () => {
  const lines = await logged((log) => log.info({ path: 'a\r\n{"level":"error"}\u001b[2J' }, 'asked'))

  expect(lines).toHaveLength(1)
  expect(lines[0]?.trimEnd()).not.toMatch(/[\r\n\u001b]/)
})
