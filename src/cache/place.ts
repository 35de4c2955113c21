import type { Held } from '../store/ranges.ts'

/** Where a fill puts bytes and its readers find them: a spool, or a window in memory where nothing can be kept. */
export interface Place {
  readonly held: Pick<Held, 'endFrom' | 'findNext' | 'gaps'>
  /** Keeps all of `piece`, which may be reused once this resolves. @throws {DiskError} */
  write(offset: number, piece: Buffer): Promise<void>
  /** Reads what is held from `offset` up to `end`, as much as `into` takes. */
  read(into: Buffer, offset: number, end: number): Promise<number>
}
