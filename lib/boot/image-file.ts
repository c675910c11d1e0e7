import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { describe, type ErrorCode, VmmError } from '../errors.js'

/** The most that any one image may have: no kernel or initrd comes near. */
const MAX_IMAGE = 2 ** 32
/** Bytes of one read: Node takes a 32-bit length. */
const MAX_READ = 2 ** 30

const READABLE_FILE = 'a regular file that exists and can be read'

/**
 * An image to be loaded: a file, opened once and read where asked, or bytes.
 * Only regular files are taken, and without waiting: a FIFO or a device in a kernel's place is refused unopened.
 */
export class ImageFile {
  /** Bytes when it was opened. */
  readonly size: number
  readonly #path: string | undefined
  readonly #bytes: Uint8Array | undefined
  #fd = -1

  /** The file's name without its folder; the option's where there is no file. */
  get name(): string {
    return this.#path === undefined ? this.option : basename(this.#path)
  }

  /**
   * @param option what the image is to the user, for errors: `'kernel'`, `'initrd'`
   * @throws VmmError with `code`, naming the option, the path and what was expected
   */
  constructor(
    source: string | Uint8Array,
    /** What the image is to the user, for errors. */
    readonly option: string,
    /** Of errors about its contents. */
    readonly code: ErrorCode,
  ) {
    if (typeof source !== 'string') {
      this.#bytes = source
      this.size = source.byteLength
      return
    }
    this.#path = source
    this.#fd = this.#open(source)
    try {
      const stat = fstatSync(this.#fd)
      if (!stat.isFile()) throw this.error('is no regular file', source, READABLE_FILE)
      if (stat.size > MAX_IMAGE)
        throw this.error(`has ${stat.size} bytes`, stat.size, 'at most 4 GiB')
      this.size = stat.size
    } catch (error) {
      this.close()
      throw error
    }
  }

  /**
   * Fills `into` from `offset` on; a file is read straight into it.
   * @throws VmmError if the image ends before that, as a file may that shrinks meanwhile, or cannot be read
   */
  readInto(into: Uint8Array, offset: number): void {
    if (this.#bytes) {
      // Shorter than it was if its buffer has been detached or resized since.
      const end = offset + into.byteLength
      if (end > this.#bytes.byteLength) throw this.#short(end)
      into.set(this.#bytes.subarray(offset, end))
      return
    }
    for (let done = 0; done < into.byteLength; ) {
      const count = this.#read(into.subarray(done, done + MAX_READ), offset + done)
      if (count === 0) throw this.#short(offset + into.byteLength)
      done += count
    }
  }

  /** A copy of `[offset, offset + length)`, or of as much of it as the image has. */
  read(offset: number, length: number): Uint8Array {
    const start = Math.min(offset, this.size)
    const bytes = new Uint8Array(Math.min(length, this.size - start))
    this.readInto(bytes, start)
    return bytes
  }

  /** May be called again. */
  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }

  /**
   * An error about this image: `kernel "/boot/vmlinuz" is empty; expected a Linux bzImage`.
   * @param problem a predicate
   */
  error(problem: string, value: unknown, expected: string, cause?: unknown): VmmError {
    const name = this.#path === undefined ? '' : ` ${describe(this.#path)}`
    return new VmmError(this.code, `${this.option}${name} ${problem}; expected ${expected}`, {
      option: this.option,
      value,
      expected,
      cause,
    })
  }

  #open(path: string): number {
    try {
      // Opening some devices acts on them. What is there may change until it is open, so the caller looks again then.
      if (!statSync(path).isFile()) throw this.error('is no regular file', path, READABLE_FILE)
      return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
    } catch (cause) {
      if (cause instanceof VmmError) throw cause
      throw this.error(`cannot be opened (${errno(cause)})`, path, READABLE_FILE, cause)
    }
  }

  #read(into: Uint8Array, position: number): number {
    if (this.#fd < 0) throw new VmmError('ERR_CLOSED', `the ${this.option} image is closed`)
    try {
      return readSync(this.#fd, into, 0, into.byteLength, position)
    } catch (cause) {
      throw this.error(`cannot be read (${errno(cause)})`, this.#path, READABLE_FILE, cause)
    }
  }

  #short(wanted: number): VmmError {
    return this.error(`ends before byte ${wanted}`, this.size, 'a whole image')
  }
}

function errno(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'failed'
}
