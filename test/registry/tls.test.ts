import { once } from 'node:events'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { HIT } from '../../src/cache/facts.ts'
import { ask } from '../support/ask.ts'
import { TEST_TLS } from '../support/tls.ts'
import { exchangeRaw, startFront, until } from './support.ts'

const hex = 'f'.repeat(64)

test('with a certificate it speaks HTTPS, and closes on whoever speaks HTTP', async () => {
  await using house = await startFront({ tls: TEST_TLS })

  const secure = await ask(`${house.url}/v2/`, { ca: TEST_TLS.cert })
  const plain = await exchangeRaw(house.port, 'GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')

  expect([secure.status, secure.body.toString()]).toEqual([200, '{}'])
  expect(plain).not.toContain('HTTP')
})

test('fault 24: a connection that never shakes hands is closed at the limit', async () => {
  await using house = await startFront({ tls: TEST_TLS, limits: { headMs: 100, checkEveryMs: 50 } })

  expect(await exchangeRaw(house.port, '')).toBe('')
})

test('fault 84: under TLS too, a drain closes what is silent at once and lets a download end', async () => {
  const { promise: going, resolve: go } = Promise.withResolvers<void>()
  const house = await startFront({
    tls: TEST_TLS,
    answerBlob: async (exchange) => {
      exchange.start(200, ['Content-Length', '10'], HIT)
      await exchange.write(Buffer.from('12345'))
      await going
      await exchange.write(Buffer.from('67890'))
      exchange.end()
    },
  })
  const secured = () => connectTls({ port: house.port, host: '127.0.0.1', ca: TEST_TLS.cert })
  const raw = connect(house.port, '127.0.0.1')
  const silent = secured()
  await once(silent, 'secureConnect')
  const loading = secured()
  let answer = ''
  loading.on('data', (piece) => {
    answer += piece.toString()
  })
  loading.write(`GET /v2/a/blobs/sha256:${hex} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await until(() => answer.endsWith('12345'))

  const drained = house.front.drain()
  await Promise.all([once(raw.resume(), 'close'), once(silent.resume(), 'close')])
  go()
  await once(loading, 'close')
  await drained

  expect(answer).toMatch(/1234567890$/)
})
