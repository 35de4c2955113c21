import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import Database from 'better-sqlite3'

/** What is wrong in a folder that was closed; blobs that were damaged on purpose are passed over. */
export async function misnamedBlobsIn(store: string, damaged: ReadonlySet<string>): Promise<readonly string[]> {
  const wrong: string[] = []
  for (const algorithm of ['sha256', 'sha512']) {
    const folder = join(store, 'blobs', algorithm)
    for (const name of await readdir(folder)) {
      const hash = createHash(algorithm)
      for await (const piece of createReadStream(join(folder, name))) hash.update(piece)
      if (hash.digest('hex') !== name && !damaged.has(name)) wrong.push(`blobs/${algorithm}/${name} has other bytes`)
    }
  }
  return wrong
}

type Row = { readonly digest: string; readonly size: number }

/** Whether the books of a folder that was closed in order say what is in it (fault 90). */
export async function bookTroublesIn(store: string): Promise<readonly string[]> {
  const inFolder = await sizesIn(store)
  using books = openForReading(join(store, 'disk.sqlite'))
  using index = openForReading(join(store, 'index.sqlite'))
  const rows = new Map(
    books.database
      .prepare<[], Row>('SELECT digest, size FROM blobs')
      .all()
      .map(({ digest, size }) => [digest, size]),
  )
  const bytes = sumOf([...inFolder.values()])
  const totals = books.database.prepare<[], { value: string }>("SELECT value FROM facts WHERE name = 'totals'").get()
  return [
    ...[...inFolder].filter(([digest]) => !rows.has(digest)).map(([digest]) => `${digest} has no row`),
    ...[...rows].filter(([digest]) => !inFolder.has(digest)).map(([digest]) => `${digest} has no file`),
    ...[...inFolder].flatMap(([digest, size]) =>
      rows.has(digest) && rows.get(digest) !== size ? [`${digest} has ${size} bytes, not ${rows.get(digest)}`] : [],
    ),
    ...(totals?.value === `${inFolder.size} ${bytes}`
      ? []
      : [`the totals are ${totals?.value}, not ${inFolder.size} ${bytes}`]),
    ...integrityOf('disk.sqlite', books.database),
    ...integrityOf('index.sqlite', index.database),
  ]
}

/** What lies in `spools/` of a folder that is at rest and is no spool with its note. */
export async function strayFilesIn(store: string): Promise<readonly string[]> {
  const names = await readdir(join(store, 'spools'))
  const isWhole = (name: string) =>
    /^sha(?:256|512)-[0-9a-f]+(?:\.json)?$/.test(name) &&
    names.includes(name.endsWith('.json') ? name.slice(0, -'.json'.length) : `${name}.json`)
  return names.filter((name) => !isWhole(name)).map((name) => `spools/${name} was left there`)
}

/**
 * Whether `usedBytes`, which a server at rest says that it takes, are what is in its folder. Of a spool it counts what
 * it holds, which may be less than its file has.
 */
export async function useTroublesIn(store: string, usedBytes: number): Promise<readonly string[]> {
  const blobBytes = sumOf([...(await sizesIn(store)).values()])
  const names = (await readdir(join(store, 'spools'))).filter((name) => !name.endsWith('.json'))
  const spoolBytes = sumOf(await Promise.all(names.map(async (name) => (await stat(join(store, 'spools', name))).size)))
  const isRight = usedBytes >= blobBytes && usedBytes <= blobBytes + spoolBytes
  return isRight ? [] : [`${usedBytes} bytes are said to be used: ${blobBytes} are in blobs, ${spoolBytes} in spools`]
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, each) => sum + each, 0)

/** By digest. */
async function sizesIn(store: string): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>()
  for (const algorithm of ['sha256', 'sha512']) {
    const folder = join(store, 'blobs', algorithm)
    for (const name of await readdir(folder)) {
      found.set(`${algorithm}:${name}`, (await stat(join(folder, name))).size)
    }
  }
  return found
}

/** Files beneath `folder` that hold one of `secrets`, and which. */
export async function secretsIn(folder: string, secrets: readonly string[]): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const found: string[] = []
  for (const path of files) {
    const bytes = await readFile(path)
    for (const secret of secrets) if (bytes.includes(secret)) found.push(`${path} holds ${secret.slice(0, 14)}…`)
  }
  return found
}

function openForReading(path: string) {
  const database = new Database(path, { readonly: true, fileMustExist: true })
  return { database, [Symbol.dispose]: () => database.close() }
}

function integrityOf(name: string, database: Database.Database): readonly string[] {
  const said: unknown = database.pragma('integrity_check', { simple: true })
  return said === 'ok' ? [] : [`${name}: ${String(said)}`]
}
