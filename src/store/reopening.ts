import { existsSync } from 'node:fs'
import { DiskError, diskErrorOf } from './disk-error.ts'
import { type DiskOptions, type DiskParts, openParts } from './disk-open.ts'
import { isTorn } from './sqlite-file.ts'

type Hooks = {
  readonly onError: (error: DiskError) => void
  /** Called before the old parts are closed: whoever holds one of them lets go. Resolves once nobody does. */
  readonly onLeave: () => Promise<void>
  readonly onOpened: (parts: DiskParts) => void
}

/**
 * The parts of a disk. Where the folder's path comes to lead elsewhere, or the books turn out to be torn, all of them
 * are opened anew there: what the folder holds then is what there is. Fills and readers that are under way go on
 * through the descriptors that they have; nothing of theirs is kept.
 */
export class Reopening {
  readonly #options: DiskOptions
  readonly #hooks: Hooks
  #parts: DiskParts
  #areBooksTorn = false
  /** The path was seen to lead elsewhere, and was not looked at since. */
  #isElsewhere = false
  /** The old parts are closed, and there are no new ones yet. */
  #isClosed = false

  constructor(parts: DiskParts, options: DiskOptions, hooks: Hooks) {
    this.#parts = parts
    this.#options = options
    this.#hooks = hooks
  }

  get parts(): DiskParts {
    return this.#parts
  }

  /** The books are not of what the path leads to: nothing is found, and nothing taken. */
  get isAway(): boolean {
    return this.#isClosed || this.#isElsewhere
  }

  /** Whether the books may be closed as whole ones. */
  get areBooksWhole(): boolean {
    return !this.#isClosed && !this.#areBooksTorn
  }

  /** Whether a file that is missing says nothing of the books: the path leads elsewhere. */
  looksElsewhere(): boolean {
    if (this.isAway) return true
    const { standing, folder } = this.#parts
    if (standing.isHere()) return false
    this.#isElsewhere = true
    const cause = Object.assign(new Error('not the folder that was opened'), { code: 'ESTALE' })
    this.#hooks.onError(new DiskError('failed', `${folder.path} leads elsewhere than it did`, cause))
    return true
  }

  /** What an error tells of the books. */
  met(error: DiskError): void {
    if (isTorn(error.cause)) this.#areBooksTorn = true
  }

  /** Sets right what can be. Never rejects. @returns what can't be, or not yet */
  async findTrouble(): Promise<DiskError | undefined> {
    const { standing, folder } = this.#parts
    try {
      this.#isElsewhere = !standing.isHere()
      if (this.areBooksWhole && !this.#isElsewhere) return undefined
      // an empty folder where a volume was mounted is no place to begin anew: it is there by mistake
      const isOurs = standing.isSameVolume() || existsSync(folder.books)
      if (!isOurs) return new DiskError('failed', `${folder.path} is not on the volume where it was`)
      await this.#openAnew()
      return undefined
    } catch (thrown) {
      return diskErrorOf(thrown, `opening ${folder.path} anew`)
    }
  }

  async #openAnew(): Promise<void> {
    const { folder, books, spools, blobFolders } = this.#parts
    if (!this.#isClosed) {
      this.#options.log.warn({ folder: folder.path, torn: this.#areBooksTorn }, 'the folder is opened anew')
      this.#isClosed = true
      await spools.abandon()
      await this.#hooks.onLeave()
      books.abandon()
      await Promise.all([blobFolders.sha256.close(), blobFolders.sha512.close()])
    }
    this.#parts = await openParts(folder, this.#options, this.#hooks.onError)
    this.#areBooksTorn = false
    this.#isClosed = false
    this.#isElsewhere = false
    this.#hooks.onOpened(this.#parts)
  }
}
