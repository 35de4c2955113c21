import type { IncomingMessage } from 'node:http'
import { hashSync } from '@node-rs/bcrypt'
import { expect, test } from 'vitest'
import { Htpasswd } from '../../src/registry/htpasswd.ts'
import { HandClock } from '../cache/hand-clock.ts'

const basicOf = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`
const hash = hashSync('right', 4)

/** The door of one user, `ann`, whose checks are counted and go by the password alone. */
function doorOf(users: readonly (readonly [string, string])[] = [['ann', hash]]) {
  const clock = new HandClock()
  const checks: (readonly [password: string, hash: string])[] = []
  const file = { value: new Map(users), look: () => undefined as Promise<void> | undefined }
  const verify = async (password: string, of: string) => {
    checks.push([password, of])
    return password === 'right' && of === hash
  }
  const door = new Htpasswd({ users: file, clock, verify })
  const ask = async (authorization: string | undefined) => {
    const request = { headers: { authorization }, socket: { remoteAddress: '10.0.0.1' } }
    const refusal = await door.refusalOf(request as unknown as IncomingMessage)
    return refusal?.reason ?? 'in'
  }
  return { clock, checks, file, door, ask }
}

test('fault 81: a name that nobody has costs the same check as a wrong password, and gets the same answer', async () => {
  const { checks, ask } = doorOf()

  const told = [await ask(basicOf('ann:wrong')), await ask(basicOf('bob:wrong')), await ask(basicOf('bob:right'))]

  expect(told).toEqual(['unauthorized', 'unauthorized', 'unauthorized'])
  expect(checks).toHaveLength(3)
  expect(checks.map(([, of]) => [of.length, of.slice(0, 7)])).toEqual(Array(3).fill([60, hash.slice(0, 7)]))
})

test('a verdict is remembered for a minute, right or wrong', async () => {
  const { clock, checks, ask } = doorOf()

  const ofFirst = [await ask(basicOf('ann:right')), await ask(basicOf('ann:wrong'))]
  clock.advance(59_999)
  const ofSecond = [await ask(basicOf('ann:right')), await ask(basicOf('ann:wrong'))]
  expect(checks).toHaveLength(2)
  clock.advance(1)
  await ask(basicOf('ann:right'))

  expect(ofFirst).toEqual(['in', 'unauthorized'])
  expect(ofSecond).toEqual(ofFirst)
  expect(checks).toHaveLength(3)
})

test('a remembered verdict is told at once, without a promise', async () => {
  const { door, ask } = doorOf()
  const authorization = basicOf('ann:right')
  await ask(authorization)
  const request = { headers: { authorization }, socket: {} } as unknown as IncomingMessage

  expect(door.refusalOf(request)).toBeUndefined()
})

test('those who ask the same at once share one check', async () => {
  const { checks, ask } = doorOf()

  const told = await Promise.all(Array.from({ length: 20 }, () => ask(basicOf('ann:right'))))

  expect(new Set(told)).toEqual(new Set(['in']))
  expect(checks).toHaveLength(1)
})

test('5,000 wrong guesses displace no right verdict', async () => {
  const { checks, ask } = doorOf()
  await ask(basicOf('ann:right'))
  for (let at = 0; at < 5_000; at += 1) await ask(basicOf(`ann:${at}`))
  checks.length = 0

  expect(await ask(basicOf('ann:right'))).toBe('in')
  expect(checks).toEqual([])
})

test('when the file has changed, nothing remembered holds', async () => {
  const { file, ask } = doorOf()
  await ask(basicOf('ann:right'))

  file.value = new Map([['bob', hash]])

  expect(await ask(basicOf('ann:right'))).toBe('unauthorized')
  expect(await ask(basicOf('bob:right'))).toBe('in')
})

test('a verdict by a file that changed meanwhile is not remembered for the new one', async () => {
  const { file, checks, ask } = doorOf()
  const asked = ask(basicOf('ann:right'))
  file.value = new Map([['bob', hash]])
  await asked

  expect(await ask(basicOf('ann:right'))).toBe('unauthorized')
  expect(checks).toHaveLength(2)
})

test('who asks while a check by the file as it was is under way is judged by the new one', async () => {
  const { file, checks, ask } = doorOf()
  const asked = ask(basicOf('ann:right'))
  file.value = new Map([['bob', hash]])

  const joined = await ask(basicOf('ann:right'))
  await asked

  expect(joined).toBe('unauthorized')
  expect(checks).toHaveLength(2)
})

for (const [why, authorization] of [
  ['nothing', undefined],
  ['another scheme', 'Bearer abc'],
  ['a name alone', basicOf('ann')],
  ['no name', basicOf(':right')],
  ['no base64', 'Basic {}'],
  ['two values', `${basicOf('ann:right')}, ${basicOf('ann:right')}`],
  ['more than any password', basicOf(`ann:${'x'.repeat(70_000)}`)],
  ['a password that bcrypt would read in part', basicOf(`ann:${'x'.repeat(73)}`)],
  ['a password that bcrypt would read as its own half', basicOf('ann:right\0right')],
] as const) {
  test(`${why} is refused without a check`, async () => {
    const { checks, ask } = doorOf()

    expect(await ask(authorization)).toBe('unauthorized')
    expect(checks).toEqual([])
  })
}

test('a check that fails is answered, and asked again the next time', async () => {
  const clock = new HandClock()
  let fails = true
  const verify = async () => {
    if (fails) throw new Error('no thread')
    return true
  }
  const door = new Htpasswd({ users: { value: new Map([['ann', hash]]), look: () => undefined }, clock, verify })
  const request = { headers: { authorization: basicOf('ann:x') }, socket: {} } as unknown as IncomingMessage

  const first = await door.refusalOf(request)
  fails = false
  const second = await door.refusalOf(request)

  expect([first?.reason, second]).toEqual(['internal', undefined])
})
