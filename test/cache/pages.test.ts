import fc from 'fast-check'
import { expect, test } from 'vitest'
import { carried, findCarried, findTags, localPageOf, mergedOf, nextQueryOf, pageOf } from '../../src/cache/pages.ts'

for (const [link, query, why] of [
  ['</v2/a/tags/list?n=2&last=b>; rel="next"', 'n=2&last=b', 'relative'],
  [
    '<https://other.test/v2/a/tags/list?n=2&last=b>; rel="next"',
    'n=2&last=b',
    'of another origin: only its query counts',
  ],
  ['<tags/list?n=2&last=b>; rel=next', 'n=2&last=b', 'without quotes, without the repository'],
  ['</v2/a/tags/list?next_page=abc%3D&n=50>; rel="next"', 'next_page=abc%3D&n=50', 'a parameter of its own'],
  ['</x?a=1>; rel="prev", </x?a=2>; rel="next"', 'a=2', 'the second of two'],
  ['</v2/a/tags/list>; rel="next"', undefined, 'without a query it leads back to the first page'],
  ['</x?a=1>; rel="prev"', undefined, 'no next page'],
  ['garbage', undefined, 'no link at all'],
  [undefined, undefined, 'no header'],
] as const) {
  test(`of the link ${link} the next query is ${query}: ${why}`, () => {
    expect(nextQueryOf(link)?.toString()).toBe(query)
  })
}

const TAGS = ['a', 'b', 'c', 'd']

for (const [page, tags, next, why] of [
  [{}, undefined, undefined, 'nothing was asked for'],
  [{ n: 4 }, undefined, undefined, 'it is the page already'],
  [{ n: 2, last: 'x' }, ['a', 'b'], 'n=2&last=b', 'upstream heeded last and not n'],
  [{ n: 2 }, ['a', 'b'], 'n=2&last=b', 'upstream gave more'],
  [{ n: 2, last: 'b' }, ['c', 'd'], undefined, 'upstream heeded neither'],
  [{ last: 'c' }, ['d'], undefined, 'upstream did not heed last'],
  [{ last: 'd' }, [], undefined, 'nothing follows'],
] as const) {
  test(`the page ${JSON.stringify(page)} of four tags is ${tags ?? 'what came'}: ${why}`, () => {
    const cut = pageOf(TAGS, page)

    expect(cut?.tags).toEqual(tags)
    expect(cut?.next?.toString()).toBe(next)
  })
}

test('pages followed by their links give every known tag once, in order', () => {
  const tags = fc.uniqueArray(fc.stringMatching(/^[a-z0-9]{1,3}$/), { maxLength: 40 })
  fc.assert(
    fc.property(tags, fc.integer({ min: 1, max: 10 }), (unsorted, n) => {
      const known = [...unsorted].sort()
      const seen: string[] = []
      let last: string | undefined
      do {
        const page = localPageOf(known, { n, ...(last !== undefined && { last }) })
        seen.push(...page.tags)
        last = page.next?.get('last') ?? undefined
      } while (last !== undefined)

      expect(seen).toEqual(known)
    }),
  )
})

test("upstream's own next query comes back whole through a client who knows n and last alone", () => {
  const name = fc.constantFrom('next_token', 'page', 'last', 'k')
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.string({ maxLength: 40 })), { maxLength: 4 }), (pairs) => {
      const next = new URLSearchParams([...pairs, ['token', '=&~']])
      const last = carried(next)?.get('last') ?? ''

      expect(findCarried({ last })?.toString()).toBe(next.toString())
    }),
  )
})

test('a next query that says n and last alone is left as it is, and one that is too long is none', () => {
  const usual = new URLSearchParams({ n: '5', last: 'v1' })

  expect(carried(usual)).toBe(usual)
  expect(findCarried({ n: 5, last: 'v1' })).toBeUndefined()
  expect(carried(new URLSearchParams({ token: 'x'.repeat(700) }))).toBeUndefined()
})

test('a client cannot ask upstream for more tags by what it carries back', () => {
  const last = carried(new URLSearchParams({ n: '1000000', token: 'x' }))?.get('last') ?? ''

  expect(findCarried({ n: 10, last })?.toString()).toBe('n=10&token=x')
  expect(findCarried({ last })?.toString()).toBe('token=x')
})

test('pages of referrers are merged in order, and not where one of them is none', () => {
  const page = (...digests: string[]) => Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: digests }))

  expect(JSON.parse(String(mergedOf([page('a'), page('b', 'c')])))).toEqual({
    schemaVersion: 2,
    manifests: ['a', 'b', 'c'],
  })
  expect(mergedOf([page('a'), Buffer.from('<html>')])).toBeUndefined()
})

for (const [body, want, why] of [
  ['{"name":"a","tags":["x"]}', ['x'], 'a listing'],
  ['{"name":"a","tags":null}', [], 'none, as some registries say it'],
  ['{"name":"a"}', undefined, 'no tags'],
  ['{"tags":[1]}', undefined, 'tags are text'],
  ['<html>log in</html>', undefined, 'a login page'],
] as const) {
  test(`${body} lists ${want}: ${why}`, () => {
    expect(findTags(Buffer.from(body))).toEqual(want)
  })
}
