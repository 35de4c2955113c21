import type { Database } from 'better-sqlite3'
import { prepareAsk, prepareTell } from './prepared.ts'
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
export function statementsOf(db: Database, queries: Queries) {
  return {
    findRepository: prepareAsk(db, queries.findRepository, TEXT, TEXT_2),
    addRepository: prepareTell(db, queries.addRepository, TEXT, TEXT_2),
    findPresent: prepareAsk(db, queries.findPresent, NUMBER, TEXT),
    addResolution: prepareTell(db, queries.addResolution, NUMBER, TEXT, TEXT_2, OTHER),
    confirm: prepareTell(db, queries.confirm, NUMBER, OTHER),
    replacePresent: prepareTell(db, queries.replacePresent, NUMBER, TEXT, OTHER),
    markGone: prepareTell(db, queries.markGone, NUMBER, TEXT, OTHER),
    trimHistory: prepareTell(db, queries.trimHistory, NUMBER, TEXT, OTHER),
    tags: prepareAsk(db, queries.tags, NUMBER),
    findLink: prepareAsk(db, queries.findLink, NUMBER, TEXT),
    findPublicChild: prepareAsk(db, queries.findPublicChild, NUMBER, TEXT),
    putLink: prepareTell(db, queries.putLink, NUMBER, TEXT, OTHER),
    forgetLink: prepareTell(db, queries.forgetLink, NUMBER, TEXT),
    users: prepareAsk(db, queries.users, TEXT),
    findManifest: prepareAsk(db, queries.findManifest, TEXT),
    children: prepareAsk(db, queries.children, TEXT),
    addManifest: prepareTell(db, queries.addManifest, TEXT, TEXT_2, NUMBER, TEXT_3, TEXT_4, TEXT_5),
    addChild: prepareTell(db, queries.addChild, TEXT, NUMBER, TEXT_2, TEXT_3, OTHER, TEXT_4),
    forgetManifest: prepareTell(db, queries.forgetManifest, TEXT),
    forgetChildren: prepareTell(db, queries.forgetChildren, TEXT, NUMBER),
    findDescriptor: prepareAsk(db, queries.findDescriptor, NUMBER, TEXT),
    referrers: prepareAsk(db, queries.referrers, NUMBER, TEXT, OTHER),
    findListing: prepareAsk(db, queries.findListing, NUMBER, TEXT),
    forgetListing: prepareTell(db, queries.forgetListing, NUMBER, TEXT),
    addListing: prepareTell(db, queries.addListing, NUMBER, TEXT, BYTES, TEXT_2, TEXT_3, TEXT_4, OTHER),
    trimListings: prepareTell(db, queries.trimListings, NUMBER, OTHER),
    forgetListings: prepareTell(db, queries.forgetListings, NUMBER),
  }
}

export type Statements = ReturnType<typeof statementsOf>
