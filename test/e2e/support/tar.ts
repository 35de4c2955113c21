const BLOCK_BYTES = 512

export type Entry = {
  readonly path: string
  readonly content?: Buffer
  readonly mode?: number
  /** A symbolic link to there. */
  readonly link?: string
}

/** A tar in the ustar format (POSIX.1-1988): files, folders (a path that ends in `/`) and symbolic links. */
export function tarOf(entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const content = entry.content ?? Buffer.alloc(0)
    return [headerOf(entry, content.length), content, Buffer.alloc(-content.length & (BLOCK_BYTES - 1))]
  })
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK_BYTES)])
}

function headerOf({ path, mode, link }: Entry, sizeBytes: number): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES)
  const isFolder = path.endsWith('/')
  const octal = (value: number, offset: number, width: number) =>
    header.write(`${value.toString(8).padStart(width - 1, '0')}\0`, offset)
  header.write(path, 0)
  octal(mode ?? (isFolder ? 0o755 : 0o644), 100, 8)
  octal(0, 108, 8) // owner
  octal(0, 116, 8) // group
  octal(sizeBytes, 124, 12)
  octal(0, 136, 12) // time
  header.fill(' ', 148, 156) // the sum is taken with its own field blank
  header.write(link === undefined ? (isFolder ? '5' : '0') : '2', 156)
  header.write(link ?? '', 157)
  header.write('ustar\x0000', 257)
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  )
  return header
}
