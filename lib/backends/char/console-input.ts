import { Writable } from 'node:stream'
import { invalidOption, VmmError } from '../../errors.js'
import type { CharSource } from './char-backend.js'

/** What {@link ConsoleInput} takes. */
export interface ConsoleInputOptions {
  /** Bytes after which `write()` returns false: 1 to 2^20, 16 KiB unless told. */
  highWaterMark?: number
}

type Done = (error?: Error | null) => void

/**
 * What the guest reads from its console, as a stream to write to, with real backpressure: a write completes when the
 * guest's device has taken its last byte, `write()` returns false while more than `highWaterMark` bytes wait, and
 * `finish` means that the guest has taken everything.
 */
export class ConsoleInput extends Writable implements CharSource {
  #chunks: Uint8Array[] = []
  #offset = 0
  #done: Done | undefined
  #notify: () => void = () => {}

  /** @throws VmmError `ERR_INVALID_OPTION` if `highWaterMark` is not an integer in its range. */
  constructor(options: ConsoleInputOptions = {}) {
    const highWaterMark = options.highWaterMark ?? 16384
    if (!(Number.isInteger(highWaterMark) && highWaterMark >= 1 && highWaterMark <= 1 << 20)) {
      throw invalidOption('highWaterMark', highWaterMark, 'an integer from 1 to 2^20')
    }
    super({ highWaterMark, decodeStrings: true })
  }

  take(): number {
    const chunk = this.#chunks[0]
    if (!chunk) return -1
    const byte = chunk[this.#offset++]!
    if (this.#offset === chunk.length) this.#next()
    return byte
  }

  onReadable(callback: () => void): void {
    this.#notify = callback
    if (this.#chunks.length > 0) callback()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#accept([chunk], done)
  }

  override _writev(items: { chunk: Buffer }[], done: Done): void {
    this.#accept(
      items.map((item) => item.chunk),
      done,
    )
  }

  override _destroy(error: Error | null, callback: Done): void {
    const done = this.#done
    this.#chunks = []
    this.#done = undefined
    if (done) {
      const cause =
        error ??
        new VmmError('ERR_CLOSED', 'the console closed before the guest took all of its input')
      process.nextTick(done, cause)
    }
    callback(error)
  }

  #accept(chunks: Uint8Array[], done: Done): void {
    this.#chunks = chunks.filter((chunk) => chunk.length > 0)
    this.#offset = 0
    if (this.#chunks.length === 0) {
      process.nextTick(done)
      return
    }
    this.#done = done
    this.#notify()
  }

  /** Completing a write hands us the next one at once; the tick between keeps that out of the guest access we are in. */
  #next(): void {
    this.#offset = 0
    this.#chunks.shift()
    if (this.#chunks.length > 0 || !this.#done) return
    process.nextTick(this.#done)
    this.#done = undefined
  }
}
