import type { Generated, Kysely } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'

/** The index's tables. Times are wall milliseconds; sizes are bytes; digests are written out. */
export type Tables = {
  /** Each repository by a number, since its name would stand in every link. */
  repositories: { id: Generated<number>; host: string; path: string }
  /** The history of tags: the row that was not replaced is the present one. */
  resolutions: {
    id: Generated<number>
    repository: number
    tag: string
    digest: string
    first_seen: number
    confirmed: number
    replaced: number | null
    gone: number | null
  }
  links: { repository: number; digest: string; is_public: number }
  /** `annotations` is JSON. */
  manifests: {
    digest: string
    media_type: string
    size: number
    subject: string | null
    artifact_type: string | null
    annotations: string | null
  }
  /** What a manifest names, in its order; `platform` is JSON. */
  children: {
    parent: string
    place: number
    digest: string
    media_type: string
    size: number
    platform: string | null
  }
  listings: {
    repository: number
    key: string
    bytes: Buffer
    content_type: string
    link: string | null
    filters: string | null
    confirmed: number
  }
}

/** In the order of their names. One that was released is never changed: the next is added. */
export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '001-begin': {
    async up(db: Kysely<never>) {
      await makeRepositories(db)
      await makeManifests(db)
    },
  },
}

/**
 * Brings the schema up to date; the caller holds one transaction around it.
 * @throws {Error} a sentence, where a later version has been here
 */
export async function migrate(db: Kysely<Tables>, migrations = MIGRATIONS): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ ...migrations }) } })
  const { error } = await migrator.migrateToLatest()
  if (error) throw error
}

/** The migrations that a later version of us has run here. */
export async function laterMigrationsIn(db: Kysely<Tables>, migrations = MIGRATIONS): Promise<readonly string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true })
  if (!tables.some(({ name }) => name === 'kysely_migration')) return []
  const rows = await db
    .withTables<{ kysely_migration: { name: string } }>()
    .selectFrom('kysely_migration')
    .select('name')
    .execute()
  return rows.map(({ name }) => name).filter((name) => !(name in migrations))
}

async function makeRepositories(db: Kysely<never>): Promise<void> {
  await db.schema
    .createTable('repositories')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('host', 'text', (column) => column.notNull())
    .addColumn('path', 'text', (column) => column.notNull())
    .addUniqueConstraint('repositories_by_name', ['host', 'path'])
    .execute()
  await db.schema
    .createTable('resolutions')
    .addColumn('id', 'integer', (column) => column.primaryKey())
    .addColumn('repository', 'integer', (column) => column.notNull())
    .addColumn('tag', 'text', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('first_seen', 'bigint', (column) => column.notNull())
    .addColumn('confirmed', 'bigint', (column) => column.notNull())
    .addColumn('replaced', 'bigint')
    .addColumn('gone', 'bigint')
    .execute()
  await db.schema.createIndex('resolutions_by_tag').on('resolutions').columns(['repository', 'tag', 'id']).execute()
  await db.schema.createIndex('resolutions_by_digest').on('resolutions').columns(['digest', 'repository']).execute()
  await db.schema
    .createTable('links')
    .addColumn('repository', 'integer', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('is_public', 'integer', (column) => column.notNull())
    .addPrimaryKeyConstraint('links_key', ['digest', 'repository'])
    .execute()
  await db.schema
    .createTable('listings')
    .addColumn('repository', 'integer', (column) => column.notNull())
    .addColumn('key', 'text', (column) => column.notNull())
    .addColumn('bytes', 'blob', (column) => column.notNull())
    .addColumn('content_type', 'text', (column) => column.notNull())
    .addColumn('link', 'text')
    .addColumn('filters', 'text')
    .addColumn('confirmed', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('listings_key', ['repository', 'key'])
    .execute()
}

async function makeManifests(db: Kysely<never>): Promise<void> {
  await db.schema
    .createTable('manifests')
    .addColumn('digest', 'text', (column) => column.primaryKey().notNull())
    .addColumn('media_type', 'text', (column) => column.notNull())
    .addColumn('size', 'bigint', (column) => column.notNull())
    .addColumn('subject', 'text')
    .addColumn('artifact_type', 'text')
    .addColumn('annotations', 'text')
    .execute()
  await db.schema.createIndex('manifests_by_subject').on('manifests').column('subject').execute()
  await db.schema
    .createTable('children')
    .addColumn('parent', 'text', (column) => column.notNull())
    .addColumn('place', 'integer', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('media_type', 'text', (column) => column.notNull())
    .addColumn('size', 'bigint', (column) => column.notNull())
    .addColumn('platform', 'text')
    .addPrimaryKeyConstraint('children_key', ['parent', 'place'])
    .execute()
  await db.schema.createIndex('children_by_digest').on('children').columns(['digest', 'parent']).execute()
}
