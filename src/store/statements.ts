import { type On, prepareAsk, prepareTell } from './prepared.ts'
import type { Queries } from './queries.ts'

// Samples: they stand for values while a query is compiled, and are told apart by what they are.
const NUMBER = -11
const OTHER = -12
const TEXT = 'sample:one'
const TEXT_2 = 'sample:two'
const TEXT_3 = 'sample:three'
const TEXT_4 = 'sample:four'
const TEXT_5 = 'sample:five'
const BYTES = Buffer.from('sample')

/** Every query of the index, prepared on one SQLite database. */
export function statementsOf(on: On, queries: Queries) {
  return {
    findRepository: prepareAsk(on, queries.findRepository, TEXT, TEXT_2),
    addRepository: prepareTell(on, queries.addRepository, TEXT, TEXT_2),
    findPresent: prepareAsk(on, queries.findPresent, NUMBER, TEXT),
    addResolution: prepareTell(on, queries.addResolution, NUMBER, TEXT, TEXT_2, OTHER),
    confirm: prepareTell(on, queries.confirm, NUMBER, OTHER),
    replacePresent: prepareTell(on, queries.replacePresent, NUMBER, TEXT, OTHER),
    markGone: prepareTell(on, queries.markGone, NUMBER, TEXT, OTHER),
    trimHistory: prepareTell(on, queries.trimHistory, NUMBER, TEXT, OTHER),
    tags: prepareAsk(on, queries.tags, NUMBER),
    findLink: prepareAsk(on, queries.findLink, NUMBER, TEXT),
    findPublicChild: prepareAsk(on, queries.findPublicChild, NUMBER, TEXT),
    putLink: prepareTell(on, queries.putLink, NUMBER, TEXT, OTHER),
    forgetLink: prepareTell(on, queries.forgetLink, NUMBER, TEXT),
    users: prepareAsk(on, queries.users, TEXT),
    findManifest: prepareAsk(on, queries.findManifest, TEXT),
    children: prepareAsk(on, queries.children, TEXT),
    addManifest: prepareTell(on, queries.addManifest, TEXT, TEXT_2, NUMBER, TEXT_3, TEXT_4, TEXT_5),
    addChild: prepareTell(on, queries.addChild, TEXT, NUMBER, TEXT_2, TEXT_3, OTHER, TEXT_4),
    forgetManifest: prepareTell(on, queries.forgetManifest, TEXT),
    forgetChildren: prepareTell(on, queries.forgetChildren, TEXT, NUMBER),
    findDescriptor: prepareAsk(on, queries.findDescriptor, NUMBER, TEXT),
    referrers: prepareAsk(on, queries.referrers, NUMBER, TEXT, OTHER),
    findListing: prepareAsk(on, queries.findListing, NUMBER, TEXT),
    forgetListing: prepareTell(on, queries.forgetListing, NUMBER, TEXT),
    addListing: prepareTell(on, queries.addListing, NUMBER, TEXT, BYTES, TEXT_2, TEXT_3, TEXT_4, OTHER),
    trimListings: prepareTell(on, queries.trimListings, NUMBER, OTHER),
    trimAllListings: prepareTell(on, queries.trimAllListings, NUMBER),
    forgetListings: prepareTell(on, queries.forgetListings, NUMBER),
  }
}

export type Statements = ReturnType<typeof statementsOf>
