import { expect, test } from 'vitest'
import { readHtpasswd } from '../../src/base/htpasswd.ts'

const salted = `${'a'.repeat(53)}`
const hash = `$2y$10$${salted}`

test('the forms of bcrypt that tools write are taken; empty lines, comments and CR are passed over', () => {
  const found = readHtpasswd(`# ours\n\na:${hash}\r\n  b:$2a$04$${salted}\nc d@e:$2b$14$${salted}\n`)

  expect(found.at === 'read' && [...found.value.keys()]).toEqual(['a', 'b', 'c d@e'])
})

for (const [why, text, wanted] of [
  ['MD5', `a:${hash}\nb:$apr1$canary$canary`, 'line 2: its hash is not bcrypt: make it anew with htpasswd -B'],
  ['SHA-1', 'a:{SHA}canary', 'line 1: its hash is not bcrypt'],
  ['plain text', 'a:canary', 'line 1: its hash is not bcrypt'],
  ['a password alone', '\ncanary', 'line 2: a name, a colon and a bcrypt hash are wanted'],
  ['no name', `:${hash}`, 'line 1: a name, a colon'],
  ['a name without end', `${'canary'.repeat(50)}:${hash}`, 'line 1: a name, a colon'],
  ['a hash that was cut', `a:${hash.slice(0, -1)}`, 'line 1: its hash is not bcrypt'],
  ['a cost of hours', `a:$2y$31$${salted}`, 'line 1: its bcrypt cost is 31: 4 to 14 are taken'],
  ['a cost below bcrypt', `a:$2y$03$${salted}`, 'line 1: its bcrypt cost is 3'],
  ['a name twice', `a:${hash}\na:${hash}`, 'line 2: its name stands further up already'],
  ['nobody', '# nobody\n', 'nobody is in it'],
] as const) {
  test(`${why} is refused with its line, and nothing of the line`, () => {
    const found = readHtpasswd(text)

    expect(found).toEqual({ at: 'wrong', says: expect.stringContaining(wanted) })
    expect(JSON.stringify(found)).not.toContain('canary')
  })
}
