import { type Kysely, sql } from 'kysely'
import type { Tables } from './schema.ts'

/** An index in an index in an index: deeper ones are refused where they come in. */
const DEPTH_MAX = 4

/**
 * Every query of the index, for any engine: a function of its values, so that it can be built once and kept.
 * A query is named for what it asks or tells; what it means is in index.ts.
 */
export function queriesOf(db: Kysely<Tables>) {
  return {
    ...repositoryQueries(db),
    ...resolutionQueries(db),
    ...linkQueries(db),
    ...manifestQueries(db),
    ...listingQueries(db),
  }
}

export type Queries = ReturnType<typeof queriesOf>

const repositoryQueries = (db: Kysely<Tables>) => ({
  findRepository: (host: string, path: string) =>
    db.selectFrom('repositories').select('id').where('host', '=', host).where('path', '=', path),

  addRepository: (host: string, path: string) =>
    db
      .insertInto('repositories')
      .values({ host, path })
      .onConflict((row) => row.doNothing()),
})

const resolutionQueries = (db: Kysely<Tables>) => ({
  findPresent: (repository: number, tag: string) =>
    db
      .selectFrom('resolutions')
      .select(['id', 'digest', 'confirmed', 'gone'])
      .where('repository', '=', repository)
      .where('tag', '=', tag)
      .where('replaced', 'is', null)
      .orderBy('id', 'desc')
      .limit(1),

  addResolution: (repository: number, tag: string, digest: string, confirmed: number) =>
    db.insertInto('resolutions').values({ repository, tag, digest, first_seen: confirmed, confirmed }),

  confirm: (id: number, confirmed: number) =>
    db.updateTable('resolutions').set({ confirmed, gone: null }).where('id', '=', id),

  replacePresent: (repository: number, tag: string, replaced: number) =>
    db
      .updateTable('resolutions')
      .set({ replaced })
      .where('repository', '=', repository)
      .where('tag', '=', tag)
      .where('replaced', 'is', null),

  markGone: (repository: number, tag: string, gone: number) =>
    db
      .updateTable('resolutions')
      .set({ gone })
      .where('repository', '=', repository)
      .where('tag', '=', tag)
      .where('replaced', 'is', null),

  /** All of a tag's history but the newest `kept` rows. */
  trimHistory: (repository: number, tag: string, kept: number) =>
    db
      .deleteFrom('resolutions')
      .where('repository', '=', repository)
      .where('tag', '=', tag)
      .where('id', 'not in', (rows) =>
        rows
          .selectFrom('resolutions')
          .select('id')
          .where('repository', '=', repository)
          .where('tag', '=', tag)
          .orderBy('id', 'desc')
          .limit(kept),
      ),

  tags: (repository: number) =>
    db
      .selectFrom('resolutions')
      .select('tag')
      .where('repository', '=', repository)
      .where('replaced', 'is', null)
      .where('gone', 'is', null)
      .orderBy('tag'),
})

const linkQueries = (db: Kysely<Tables>) => ({
  findLink: (repository: number, digest: string) =>
    db.selectFrom('links').select('is_public').where('digest', '=', digest).where('repository', '=', repository),

  /** Whether the digest is public by any link, and a manifest that is linked in this repository names it. */
  findPublicChild: (repository: number, digest: string) =>
    db
      .selectFrom('children as child')
      .innerJoin('links as parent', 'parent.digest', 'child.parent')
      .select('child.parent')
      .where('child.digest', '=', digest)
      .where('parent.repository', '=', repository)
      .where((row) =>
        row.exists(
          row
            .selectFrom('links as any')
            .select('any.digest')
            .where('any.digest', '=', digest)
            .where('any.is_public', '=', 1),
        ),
      )
      .limit(1),

  /** What was once got without an account stays public, whoever asked later. */
  putLink: (repository: number, digest: string, isPublic: number) =>
    db
      .insertInto('links')
      .values({ repository, digest, is_public: isPublic })
      .onConflict((row) =>
        row
          .columns(['digest', 'repository'])
          .doUpdateSet({ is_public: sql`case when excluded.is_public = 1 then 1 else links.is_public end` }),
      ),

  forgetLink: (repository: number, digest: string) =>
    db.deleteFrom('links').where('digest', '=', digest).where('repository', '=', repository),

  /** The repositories where the digest, or what names it however indirectly, is linked, with the tags of each. */
  users: (digest: string) =>
    db
      .withRecursive('above(digest, depth)', (walk) =>
        walk.selectNoFrom([sql<string>`${digest}`.as('digest'), sql<number>`0`.as('depth')]).union(
          walk
            .selectFrom('above')
            .innerJoin('children', 'children.digest', 'above.digest')
            .select(['children.parent as digest', sql<number>`above.depth + 1`.as('depth')])
            .where('above.depth', '<', DEPTH_MAX),
        ),
      )
      .selectFrom('links')
      .innerJoin('repositories', 'repositories.id', 'links.repository')
      .leftJoin('resolutions', (join) =>
        join
          .onRef('resolutions.repository', '=', 'links.repository')
          .onRef('resolutions.digest', '=', 'links.digest')
          .on('resolutions.replaced', 'is', null),
      )
      // joined, it would scan links
      .where('links.digest', 'in', (rows) => rows.selectFrom('above').select('above.digest'))
      .select(['repositories.host', 'repositories.path', 'resolutions.tag'])
      .distinct()
      .orderBy('repositories.host')
      .orderBy('repositories.path')
      .orderBy('resolutions.tag'),
})

const MANIFEST_COLUMNS = [
  'manifests.digest',
  'manifests.media_type',
  'manifests.size',
  'manifests.subject',
  'manifests.artifact_type',
  'manifests.annotations',
] as const

const CHILD_COLUMNS = ['children.digest', 'children.media_type', 'children.size', 'children.platform'] as const

const manifestQueries = (db: Kysely<Tables>) => ({
  findManifest: (digest: string) => db.selectFrom('manifests').select(MANIFEST_COLUMNS).where('digest', '=', digest),

  children: (parent: string) =>
    db.selectFrom('children').select(CHILD_COLUMNS).where('parent', '=', parent).orderBy('place'),

  /** One digest has one media type for good: the first. */
  addManifest: (
    digest: string,
    media_type: string,
    size: number,
    subject: string | null,
    artifact_type: string | null,
    annotations: string | null,
  ) =>
    db
      .insertInto('manifests')
      .values({ digest, media_type, size, subject, artifact_type, annotations })
      .onConflict((row) => row.doNothing()),

  addChild: (
    parent: string,
    place: number,
    digest: string,
    media_type: string,
    size: number,
    platform: string | null,
  ) =>
    db
      .insertInto('children')
      .values({ parent, place, digest, media_type, size, platform })
      .onConflict((row) => row.doNothing()),

  forgetManifest: (digest: string) => db.deleteFrom('manifests').where('digest', '=', digest),

  forgetChildren: (parent: string, belowPlace: number) =>
    db.deleteFrom('children').where('parent', '=', parent).where('place', '<', belowPlace),

  findDescriptor: (repository: number, digest: string) =>
    db
      .selectFrom('children')
      .innerJoin('links', 'links.digest', 'children.parent')
      .select(CHILD_COLUMNS)
      .where('children.digest', '=', digest)
      .where('links.repository', '=', repository)
      .orderBy('children.parent')
      .limit(1),

  referrers: (repository: number, subject: string, limit: number) =>
    db
      .selectFrom('manifests')
      .innerJoin('links', 'links.digest', 'manifests.digest')
      .select(MANIFEST_COLUMNS)
      .where('manifests.subject', '=', subject)
      .where('links.repository', '=', repository)
      .orderBy('manifests.digest')
      .limit(limit),
})

const listingQueries = (db: Kysely<Tables>) => ({
  findListing: (repository: number, key: string) =>
    db
      .selectFrom('listings')
      .select(['bytes', 'content_type', 'link', 'filters', 'confirmed'])
      .where('repository', '=', repository)
      .where('key', '=', key),

  forgetListing: (repository: number, key: string) =>
    db.deleteFrom('listings').where('repository', '=', repository).where('key', '=', key),

  addListing: (
    repository: number,
    key: string,
    bytes: Buffer,
    content_type: string,
    link: string | null,
    filters: string | null,
    confirmed: number,
  ) => db.insertInto('listings').values({ repository, key, bytes, content_type, link, filters, confirmed }),

  trimListings: (repository: number, kept: number) =>
    db
      .deleteFrom('listings')
      .where('repository', '=', repository)
      .where('key', 'not in', (rows) =>
        rows
          .selectFrom('listings')
          .select('key')
          .where('repository', '=', repository)
          .orderBy('confirmed', 'desc')
          .limit(kept),
      ),

  /** Each that is put has the highest rowid, so these are the ones put last; no walk over those that stay. */
  trimAllListings: (kept: number) =>
    db.deleteFrom('listings').where(sql`rowid`, '<=', sql<number>`(select max(rowid) from listings) - ${kept}`),

  forgetListings: (repository: number) => db.deleteFrom('listings').where('repository', '=', repository),
})
