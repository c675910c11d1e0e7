import type { GuestAccess } from './guest-access.js'

/**
 * The buffers of one chain: a device-readable part, then a device-writable one, each a run of guest-physical segments.
 * Lengths were bounded when the chain was taken; addresses were not: whatever follows them checks them.
 * A device must not assume how the driver cut its data into segments (virtio 1.2, 2.7.4.1).
 */
export class DescriptorChain {
  /** What `push` takes: unique among the chains in flight. */
  id = 0
  /** Segments, empty ones left out. */
  count = 0
  /** The first this many segments are readable, the rest are writable. */
  readableCount = 0
  /** Bytes of the readable part. */
  readableLength = 0
  /** Bytes of the writable part. */
  writableLength = 0
  /** Guest-physical, of each segment; only the first `count` mean anything. */
  readonly addresses: Float64Array
  /** Bytes of each segment. */
  readonly lengths: Uint32Array
  readonly #access: GuestAccess

  constructor(access: GuestAccess, capacity: number) {
    this.#access = access
    this.addresses = new Float64Array(capacity)
    this.lengths = new Uint32Array(capacity)
  }

  /** Begins anew: a chain is used for one request after another. */
  clear(id: number): void {
    this.id = id
    this.count = 0
    this.readableCount = 0
    this.readableLength = 0
    this.writableLength = 0
  }

  /** One more segment: readable ones come first. */
  append(address: number, length: number, writable: boolean): void {
    const at = this.count++
    this.addresses[at] = address
    this.lengths[at] = length
    if (writable) {
      this.writableLength += length
    } else {
      this.readableCount++
      this.readableLength += length
    }
  }

  /**
   * Copies bytes `[offset, offset + into.length)` of the readable part.
   * @returns `false` if the part is shorter or lies outside guest memory; `into` is then undefined
   */
  read(offset: number, into: Uint8Array): boolean {
    return this.#copy(0, this.readableCount, offset, into, 0, into.length, false)
  }

  /**
   * Copies `bytes`, or those from `start` to before `end` of them, to `offset` of the writable part.
   * @returns `false` if the part is shorter or lies outside guest memory; some bytes may have been written
   */
  write(offset: number, bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    return this.#copy(this.readableCount, this.count, offset, bytes, start, end, true)
  }

  /** The guest address of byte `offset` of the writable part, which must be shorter than `writableLength`. */
  writableAddress(offset: number): number {
    let skip = offset
    for (let i = this.readableCount; i < this.count; i++) {
      const length = this.lengths[i]!
      if (skip < length) return this.addresses[i]! + skip
      skip -= length
    }
    throw new RangeError('offset is not below writableLength')
  }

  #copy(
    firstSegment: number,
    endSegment: number,
    offset: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    toGuest: boolean,
  ): boolean {
    let skip = offset
    let done = start
    for (let i = firstSegment; i < endSegment && done < end; i++) {
      const length = this.lengths[i]!
      if (skip >= length) {
        skip -= length
        continue
      }
      const address = this.addresses[i]! + skip
      const count = Math.min(length - skip, end - done)
      const region = this.#access.find(address, count)
      if (region === undefined) return false
      const at = address - region.guestAddress
      if (toGuest) copyBytes(region.u8, at, bytes, done, count)
      else copyBytes(bytes, done, region.u8, at, count)
      done += count
      skip = 0
    }
    return done === end
  }
}

/** Short runs byte by byte: making a subarray costs more. */
function copyBytes(
  to: Uint8Array,
  toAt: number,
  from: Uint8Array,
  fromAt: number,
  count: number,
): void {
  if (count > 64) to.set(from.subarray(fromAt, fromAt + count), toAt)
  else for (let i = 0; i < count; i++) to[toAt + i] = from[fromAt + i]!
}
