import { expect, onTestFinished, test } from 'vitest'
import { Metrics } from '../../src/base/metrics.ts'

function setUp(upstreams = ['docker.io', 'ghcr.io']) {
  const metrics = new Metrics(upstreams)
  onTestFinished(() => metrics[Symbol.dispose]())
  const read = async (line: string) =>
    (await metrics.text())
      .split('\n')
      .find((each) => each.startsWith(`${line} `))
      ?.slice(line.length + 1)
  return { metrics, read }
}

test('requests are counted by what was asked and how it ended, bytes by what was asked', async () => {
  const { metrics, read } = setUp()

  metrics.countAnswer('blob', 'hit', 100)
  metrics.countAnswer('blob', 'hit', 50)
  metrics.countAnswer('manifest', 'refused', 0)

  expect(await read('millpond_requests_total{route="blob",outcome="hit"}')).toBe('2')
  expect(await read('millpond_requests_total{route="manifest",outcome="refused"}')).toBe('1')
  expect(await read('millpond_client_bytes_total{route="blob"}')).toBe('150')
})

test('what happens upstream is counted by upstream and status', async () => {
  const { metrics, read } = setUp()

  metrics.countUpstreamRequest('ghcr.io', 206)
  metrics.countUpstreamRequest('ghcr.io', undefined)
  metrics.countUpstreamBytes('ghcr.io', 7)

  expect(await read('millpond_upstream_requests_total{upstream="ghcr.io",status="2xx"}')).toBe('1')
  expect(await read('millpond_upstream_requests_total{upstream="ghcr.io",status="failed"}')).toBe('1')
  expect(await read('millpond_upstream_bytes_total{upstream="ghcr.io"}')).toBe('7')
})

test('fault 68: labels are bounded: an upstream that was not named is "other"', async () => {
  const { metrics, read } = setUp()

  for (let at = 0; at < 50; at += 1) metrics.countUpstreamRequest(`host-${at}.example`, 200)

  expect(await read('millpond_upstream_requests_total{upstream="other",status="2xx"}')).toBe('50')
  expect(await metrics.text()).not.toContain('host-')
})

test('every series is there from the start, so that a rate sees its first event', async () => {
  const { read } = setUp()

  expect(await read('millpond_requests_total{route="blob",outcome="stale"}')).toBe('0')
  expect(await read('millpond_upstream_bytes_total{upstream="docker.io"}')).toBe('0')
  expect(await read('millpond_evicted_blobs_total')).toBe('0')
})

test('what the disk holds is asked for when somebody reads it', async () => {
  const { metrics, read } = setUp()
  let bytes = 1
  let isDegraded = false
  metrics.watch({
    disk: () => ({ bytes, capBytes: 10, blobs: 2, open: 1, quarantined: 4 }),
    isDegraded: () => isDegraded,
    underWay: () => ({ fills: 3, fillReaders: 6, answers: 7 }),
  })

  expect(await read('millpond_disk_bytes')).toBe('1')
  bytes = 5
  isDegraded = true
  expect(await read('millpond_disk_bytes')).toBe('5')
  expect(await read('millpond_degraded{part="disk"}')).toBe('1')
  expect(await read('millpond_open_blobs')).toBe('1')
  expect(await read('millpond_fills_under_way')).toBe('3')
  expect(await read('millpond_fill_readers')).toBe('6')
  expect(await read('millpond_answers_under_way')).toBe('7')
  expect(await read('millpond_disk_cap_bytes')).toBe('10')
  expect(await read('millpond_quarantined_total')).toBe('4')
})

test('evictions, failures and what was set aside are counted', async () => {
  const { metrics, read } = setUp()

  metrics.countEvicted(1000)
  metrics.countFillFailure('cut')

  expect(await read('millpond_evicted_bytes_total')).toBe('1000')
  expect(await read('millpond_evicted_blobs_total')).toBe('1')
  expect(await read('millpond_fill_failures_total{fault="cut"}')).toBe('1')
})

test('two servers in one process count apart', async () => {
  const [one, other] = [setUp(), setUp()]

  one.metrics.countEvicted(1)

  expect(await other.read('millpond_evicted_blobs_total')).toBe('0')
})
