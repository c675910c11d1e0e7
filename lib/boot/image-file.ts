import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { type ErrorCode, VmmError } from '../errors.js'

/** The most that any one image may have: no kernel or initrd comes near. */
const MAX_IMAGE = 2 ** 32

/**
 * An image to be loaded: a file, opened once and read where asked, or bytes.
 * Only regular files are taken, and without waiting: a FIFO or a device in a kernel's place is refused at once.
 */
export class ImageFile {
  readonly size: number
  readonly #bytes: Uint8Array | undefined
  readonly #fd: number

  /**
   * @param option what the image is to the user, for errors: `'kernel'`, `'initrd'`
   * @throws VmmError with `code`, naming the option, the path and what was expected
   */
  constructor(
    source: string | Uint8Array,
    readonly option: string,
    readonly code: ErrorCode,
  ) {
    if (typeof source !== 'string') {
      this.#bytes = source
      this.#fd = -1
      this.size = source.byteLength
      return
    }
    this.#fd = this.#open(source)
    try {
      const stat = fstatSync(this.#fd)
      if (!stat.isFile()) throw this.error(`${source} is no regular file`, source, 'a regular file')
      this.size = stat.size
      if (this.size > MAX_IMAGE)
        throw this.error(`${source} has ${this.size} bytes`, source, 'at most 4 GiB')
    } catch (error) {
      closeSync(this.#fd)
      throw error
    }
  }

  /** Fills `into` from `offset` on. @throws VmmError if the image ends before that (a file may shrink meanwhile) */
  readInto(into: Uint8Array, offset: number): void {
    if (offset > this.size - into.byteLength) throw this.#short(offset + into.byteLength)
    if (this.#bytes) {
      into.set(this.#bytes.subarray(offset, offset + into.byteLength))
      return
    }
    for (let done = 0; done < into.byteLength; ) {
      const count = readSync(this.#fd, into, done, into.byteLength - done, offset + done)
      if (count === 0) throw this.#short(offset + into.byteLength)
      done += count
    }
  }

  /** A copy of `[offset, offset + length)`, or of as much of it as the image has. */
  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, this.size - offset)))
    this.readInto(bytes, offset)
    return bytes
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
  }

  /** An error about this image. */
  error(message: string, value: unknown, expected: string): VmmError {
    return new VmmError(this.code, `${this.option}: ${message}; expected ${expected}`, {
      option: this.option,
      value,
      expected,
    })
  }

  #open(path: string): number {
    try {
      return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
    } catch (cause) {
      const expected = 'a file that exists and can be read'
      const { code = 'failed' } = cause as NodeJS.ErrnoException
      throw new VmmError(
        this.code,
        `${this.option}: cannot open ${JSON.stringify(path)} (${code}); expected ${expected}`,
        {
          option: this.option,
          value: path,
          expected,
          cause,
        },
      )
    }
  }

  #short(wanted: number): VmmError {
    return this.error(`the image ends after ${this.size} bytes`, this.size, `at least ${wanted}`)
  }
}
