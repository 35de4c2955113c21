import { connect } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Admin } from '../../src/admin/admin.ts'
import { Readiness, type ReadinessFacts } from '../../src/admin/readiness.ts'
import { silentLog } from '../../src/base/log.ts'
import { Metrics } from '../../src/base/metrics.ts'

const WELL: ReadinessFacts = {
  phase: () => 'serving',
  isDiskFailing: () => false,
  askIndex: () => Promise.resolve(),
  lagMs: () => 0,
}

async function setUp(
  facts: Partial<ReadinessFacts> = {},
  metrics: Pick<Metrics, 'text' | 'contentType'> = metricsOf(),
) {
  const admin = new Admin({ metrics, readiness: new Readiness({ ...WELL, ...facts }), log: silentLog })
  onTestFinished(() => admin[Symbol.asyncDispose]())
  const { host, port } = await admin.listen({ host: '127.0.0.1', port: 0 })
  return { admin, port, get: (path: string, init?: RequestInit) => fetch(`http://${host}:${port}${path}`, init) }
}

function metricsOf(): Metrics {
  const metrics = new Metrics(['docker.io'])
  onTestFinished(() => metrics[Symbol.dispose]())
  return metrics
}

test('live is whoever answers at all', async () => {
  const { get } = await setUp({ phase: () => 'draining', isDiskFailing: () => true })

  expect((await get('/healthz')).status).toBe(200)
})

test('fault 89: ready is disk, index, loop and not draining; upstreams are no part of it', async () => {
  const { get } = await setUp()

  const answer = await get('/readyz')
  expect([answer.status, await answer.text()]).toEqual([200, 'ok\n'])
})

for (const [facts, reason] of [
  [{ phase: () => 'starting' }, 'starting'],
  [{ phase: () => 'draining' }, 'draining'],
  [{ isDiskFailing: () => true }, 'the disk fails'],
  [{ askIndex: () => Promise.reject(new Error('SQLITE_IOERR')) }, 'the index fails'],
  [{ lagMs: () => 2_001 }, 'the event loop was 2001 ms late'],
] as const satisfies readonly (readonly [Partial<ReadinessFacts>, string])[]) {
  test(`fault 89: not ready, and says why: ${reason}`, async () => {
    const { get } = await setUp(facts)

    const answer = await get('/readyz')
    expect(answer.status).toBe(503)
    expect(await answer.text()).toContain(reason)
  })
}

test('every reason is told', async () => {
  const { get } = await setUp({ phase: () => 'draining', isDiskFailing: () => true })

  expect((await (await get('/readyz')).text()).trim().split('\n')).toHaveLength(2)
})

test('the numbers are in the format of Prometheus', async () => {
  const metrics = metricsOf()
  metrics.countAnswer('blob', 'hit', 10)
  const { get } = await setUp({}, metrics)

  const answer = await get('/metrics')
  expect(answer.headers.get('content-type')).toContain('text/plain; version=0.0.4')
  expect(await answer.text()).toContain('millpond_requests_total{route="blob",outcome="hit"} 1')
})

test('a HEAD has the head of the GET', async () => {
  const { get } = await setUp()

  const [head, whole] = [await get('/healthz', { method: 'HEAD' }), await get('/healthz')]
  expect(head.headers.get('content-length')).toBe(whole.headers.get('content-length'))
  expect(await head.text()).toBe('')
})

for (const [path, method, status] of [
  ['/', 'GET', 404],
  ['/v2/', 'GET', 404],
  ['/healthz', 'POST', 405],
  ['/healthz?verbose', 'GET', 200],
] as const) {
  test(`${method} ${path} is ${status}`, async () => {
    const { get } = await setUp()

    expect((await get(path, { method })).status).toBe(status)
  })
}

test('a page that fails is a 500 without its reason, and the next works', async () => {
  const text = () => Promise.reject(new Error('canary'))
  const { get } = await setUp({}, { text, contentType: 'text/plain' })

  const answer = await get('/metrics')
  expect(answer.status).toBe(500)
  expect(await answer.text()).not.toContain('canary')
  expect((await get('/healthz')).status).toBe(200)
})

test('closing waits for nobody who is silent', async () => {
  const { admin, port } = await setUp()
  const silent = connect(port, '127.0.0.1')
  onTestFinished(() => void silent.destroy())
  await new Promise((resolve) => silent.once('connect', resolve))
  const ended = new Promise((resolve) => silent.once('close', resolve))

  await admin[Symbol.asyncDispose]()
  await ended
})

test('a port that is taken is an error of the start', async () => {
  const { port } = await setUp()
  const other = new Admin({ metrics: metricsOf(), readiness: new Readiness(WELL), log: silentLog })

  await expect(other.listen({ host: '127.0.0.1', port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
})
