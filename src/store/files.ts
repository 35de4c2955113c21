import {
  close,
  closeSync,
  constants,
  fdatasync,
  fstat,
  fstatSync,
  fsync,
  ftruncate,
  open,
  openSync,
  read,
  type Stats,
  write,
  writeFileSync,
} from 'node:fs'
import { rename, rm, unlink } from 'node:fs/promises'
import { DiskError } from './disk-error.ts'

/** Reading what another may have planted: never along a symbolic link, never hanging on a FIFO. */
export const READ_ONLY = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
export const READ_WRITE = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK
export const NEW = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

/**
 * A descriptor and the operations under way on it. The callback API, wrapped once here: FileHandle costs more for
 * each call. System errors pass through as they come.
 */
export class OpenFile {
  readonly #fd: number
  #underWay = 0
  #closing: Promise<void> | undefined
  #idle: (() => void) | undefined

  private constructor(fd: number) {
    this.#fd = fd
  }

  static open(path: string, flags: number): Promise<OpenFile> {
    return new Promise((resolve, reject) => {
      open(path, flags, 0o644, (error, fd) => (error ? reject(error) : resolve(new OpenFile(fd))))
    })
  }

  stat(): Promise<Stats> {
    return this.#run((done) => fstat(this.#fd, done))
  }

  /** What changes with its content; asked at once. @throws the system's error */
  stamp(): string {
    if (this.#closing) throw closedError()
    return stampOf(fstatSync(this.#fd))
  }

  /** Reads the bytes from `offset` up to `end`, as many as `into` holds. @returns fewer only at the file's end */
  async read(into: Buffer, offset: number, end: number): Promise<number> {
    const wanted = Math.min(into.length, end - offset)
    let got = 0
    while (got < wanted) {
      const bytes = await this.#run<number>((done) => {
        read(this.#fd, into, got, wanted - got, offset + got, done)
      })
      if (bytes === 0) break
      got += bytes
    }
    return got
  }

  /** Writes the whole piece: a full disk may write less and report no error before the next call (M, Linux). */
  async write(piece: Uint8Array, offset: number): Promise<void> {
    let put = 0
    while (put < piece.length) {
      const bytes = await this.#run<number>((done) => {
        write(this.#fd, piece, put, piece.length - put, offset + put, done)
      })
      if (bytes === 0) throw new DiskError('failed', 'a write to the disk took no byte')
      put += bytes
    }
  }

  /** Ends it after so many bytes. */
  truncate(bytes: number): Promise<void> {
    return this.#run((done) => ftruncate(this.#fd, bytes, done))
  }

  /** Its data are on the medium. After a failure the file is worth nothing: a second try says ok and means nothing. */
  flush(): Promise<void> {
    return this.#run((done) => fdatasync(this.#fd, done))
  }

  /** As flush, with all that the file system knows of it: for folders, whose names last from then on. */
  flushWhole(): Promise<void> {
    return this.#run((done) => fsync(this.#fd, done))
  }

  /**
   * Closes once what is under way is done: a descriptor closed under a read may already be another file's.
   * May be called again. Never rejects: what mattered was flushed before.
   */
  close(): Promise<void> {
    this.#closing ??= this.#closeWhenIdle()
    return this.#closing
  }

  async #closeWhenIdle(): Promise<void> {
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    await new Promise<void>((resolve) => close(this.#fd, () => resolve()))
  }

  #run<T = void>(start: (done: (error: Error | null, result?: T) => void) => void): Promise<T> {
    if (this.#closing) return Promise.reject(closedError())
    this.#underWay += 1
    return new Promise<T>((resolve, reject) => {
      start((error, result) => {
        this.#underWay -= 1
        if (this.#underWay === 0) this.#idle?.()
        if (error) reject(error)
        else resolve(result as T)
      })
    })
  }
}

/** As the kernel would say it of a closed descriptor; but this number may be another file's by now. */
const closedError = (): Error => Object.assign(new Error('the file was closed'), { code: 'EBADF' })

/** What of a file changes with its content, for all but a failing medium. */
export const stampOf = ({ ino, size, mtimeMs }: Stats): string => `${ino} ${size} ${mtimeMs}`

/** A new file of these bytes, on the medium. Whatever goes wrong, none is left. */
export async function writeFlushed(path: string, bytes: Uint8Array): Promise<void> {
  const file = await OpenFile.open(path, NEW)
  try {
    await file.write(bytes, 0)
    await file.flush()
  } catch (error) {
    await removeFile(path)
    throw error
  } finally {
    await file.close()
  }
}

/**
 * Replaces the file at `path` by one of these bytes, all or nothing as another process sees it. Not flushed. Whatever
 * goes wrong, no draft is left.
 */
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const draft = `${path}.tmp`
  await rm(draft, { force: true })
  const file = await OpenFile.open(draft, NEW)
  try {
    try {
      await file.write(bytes, 0)
    } finally {
      await file.close()
    }
    await rename(draft, path)
  } catch (error) {
    await removeFile(draft)
    throw error
  }
}

/** Writes a small note where whatever else lies by its name is neither followed nor waited for. */
export function writePlain(path: string, text: string): void {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW, O_NONBLOCK } = constants
  const fd = openSync(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK, 0o644)
  try {
    writeFileSync(fd, text)
  } finally {
    closeSync(fd)
  }
}

/** Whether there was a file to remove and it is gone. Never rejects. */
export async function removeFile(path: string): Promise<boolean> {
  try {
    await unlink(path)
    return true
  } catch {
    return false // absent, or a failing disk: swept or found again at the next start
  }
}
