import { ensure } from './corrupt-data-error.js'

/** Reads a bit stream that was written to be read from its end (RFC 8878, section 4.1, "Bitstream"). */
export class BackwardBits {
  readonly #bytes: Uint8Array
  readonly #start: number
  /** Bits not yet read; negative once more have been read than there are. */
  left: number

  /** @throws CorruptDataError if there is no end mark, the highest bit that is set in the last byte */
  constructor(bytes: Uint8Array, start: number, end: number) {
    ensure(end > start && bytes[end - 1] !== 0, 'a bit stream without an end mark')
    this.#bytes = bytes
    this.#start = start
    this.left = (end - start) * 8 - 8 + 31 - Math.clz32(bytes[end - 1]!)
  }

  /** The next `count` bits, 0 to 24, without taking them; those that are not there are 0. */
  peek(count: number): number {
    const from = this.left - count
    if (from < 0) return this.left <= 0 ? 0 : this.#at(0, this.left) << -from
    return this.#at(from, count)
  }

  /** Takes 0 to 31 bits. */
  read(count: number): number {
    if (count > 24) {
      const high = this.read(count - 16)
      return high * 0x1_0000 + this.read(16)
    }
    const value = this.peek(count)
    this.left -= count
    return value
  }

  #at(from: number, count: number): number {
    const at = this.#start + (from >>> 3)
    const bytes = this.#bytes
    const word =
      bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    return (word >>> (from & 7)) & ((1 << count) - 1)
  }
}
