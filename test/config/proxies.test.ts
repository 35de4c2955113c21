import { expect, test } from 'vitest'
import { proxiesIn } from '../../src/base/proxies.ts'

test('the proxies of the environment are read, the lower-case name first, as curl does', () => {
  const environment = {
    HTTPS_PROXY: 'http://upper:1',
    https_proxy: 'http://lower:1',
    NO_PROXY: '.local',
    http_proxy: '',
  }

  expect(proxiesIn(environment)).toEqual({ https: 'http://lower:1', no: '.local' })
  expect(proxiesIn({})).toEqual({})
})

for (const url of ['proxy.example:3128', 'socks5://proxy.example', 'http://']) {
  test(`a proxy that is ${url} is refused`, () => {
    expect(() => proxiesIn({ HTTPS_PROXY: url })).toThrow('HTTPS_PROXY: the URL of a proxy such as')
  })
}

test('fault 80: the password of a proxy is in no refusal', () => {
  expect(() => proxiesIn({ HTTP_PROXY: 'socks5://u:canary@proxy.example' })).toThrow(/^(?!.*canary)/)
})
