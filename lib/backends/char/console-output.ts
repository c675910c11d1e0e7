import { Readable } from 'node:stream'
import { invalidOption } from '../../errors.js'
import type { CharSink } from './char-backend.js'

/** What {@link ConsoleOutput} takes. */
export interface ConsoleOutputOptions {
  /** Bytes kept for a reader that lags, besides one chunk in the stream itself: 4096 to 2^30, 1 MiB unless told. */
  capacity?: number
}

const CHUNK = 65536

/**
 * What the guest writes to its console, as a stream of Buffers.
 *
 * The guest never waits for the reader. While the reader lags, up to `capacity` bytes are kept; beyond that the
 * **oldest** of them are dropped and counted in {@link ConsoleOutput.lost}, because the end of a console log (a panic,
 * a prompt) is worth more than its middle. The stream's own first 64 KiB stay, so the start survives as well.
 *
 * Bytes that come in one turn of the event loop leave as one chunk.
 */
export class ConsoleOutput extends Readable implements CharSink {
  /** Bytes that are kept while nobody reads. */
  readonly capacity: number
  /** A ring. It is emptied from the front and starts anew when empty, so a quiet console touches few pages of it. */
  readonly #ring: Uint8Array
  #start = 0
  #length = 0
  #lost = 0
  #asked = false
  #scheduled = false
  #ended = false
  #finished = false

  /** @throws VmmError `ERR_INVALID_OPTION` if `capacity` is not an integer in its range. */
  constructor(options: ConsoleOutputOptions = {}) {
    const capacity = options.capacity ?? 1 << 20
    if (!(Number.isInteger(capacity) && capacity >= 4096 && capacity <= 2 ** 30)) {
      throw invalidOption('capacity', capacity, 'an integer from 4096 to 2^30')
    }
    super({ highWaterMark: CHUNK })
    this.capacity = capacity
    this.#ring = new Uint8Array(capacity)
  }

  /** Bytes dropped so far because the reader lagged. */
  get lost(): number {
    return this.#lost
  }

  /** Bytes that wait for the reader, those in the stream's own buffer not included. */
  get pending(): number {
    return this.#length
  }

  put(byte: number): void {
    if (this.#ended) return
    let end = this.#start + this.#length
    if (end >= this.capacity) end -= this.capacity
    this.#ring[end] = byte
    if (this.#length < this.capacity) {
      this.#length++
    } else {
      this.#start = this.#start + 1 === this.capacity ? 0 : this.#start + 1
      this.#lost++
    }
    if (!this.#scheduled && this.#wanted) {
      this.#scheduled = true
      queueMicrotask(this.#drain)
    }
  }

  /** Ends the stream once the reader has had what is left. Later bytes are ignored. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    queueMicrotask(this.#drain)
  }

  override _read(): void {
    this.#asked = true
    this.#drain()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#ended = true
    this.#start = 0
    this.#length = 0
    callback(error)
  }

  /** `_read` comes while the chunk that it makes room for still counts, so its wish outweighs the length. */
  get #wanted(): boolean {
    return this.#asked || this.readableLength < this.readableHighWaterMark
  }

  /** Every field is up to date before `push`, which may run the reader's code, and that may throw or come back here. */
  readonly #drain = (): void => {
    this.#scheduled = false
    while (this.#length > 0 && this.#wanted) {
      const length = Math.min(this.#length, CHUNK, this.capacity - this.#start)
      const chunk = Buffer.from(this.#ring.subarray(this.#start, this.#start + length))
      this.#length -= length
      this.#start += length
      if (this.#length === 0 || this.#start === this.capacity) this.#start = 0
      this.#asked = false
      this.push(chunk)
    }
    if (this.#ended && this.#length === 0) this.#finish()
  }

  #finish(): void {
    if (this.#finished || this.destroyed) return
    this.#finished = true
    this.push(null)
  }
}
