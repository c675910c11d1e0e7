import { VmmError } from '../errors.js'
import type { GuestRegion } from './guest-region.js'

/**
 * Guest-physical memory: a list of regions, none overlapping, sorted by address.
 *
 * Every access is bounded: an address range that is not wholly inside one region raises `ERR_OUT_OF_RANGE`
 * (or, in the `find` forms, gives `undefined`). Addresses and lengths are bytes, integers below 2^53.
 * After {@link GuestMemory.close} every access raises `ERR_CLOSED`.
 */
export class GuestMemory {
  /** In the order of their addresses. */
  readonly regions: readonly GuestRegion[]
  #closed = false

  constructor(regions: readonly GuestRegion[]) {
    this.regions = [...regions].sort((a, b) => a.guestAddress - b.guestAddress)
    for (let i = 1; i < this.regions.length; i++) {
      const before = this.regions[i - 1]!
      const region = this.regions[i]!
      if (before.guestAddress + before.size > region.guestAddress) {
        throw new VmmError(
          'ERR_OUT_OF_RANGE',
          `guest regions at ${hex(before.guestAddress)} and ${hex(region.guestAddress)} overlap`,
        )
      }
    }
  }

  /** Bytes of guest memory in all regions together. */
  get size(): number {
    return this.regions.reduce((sum, region) => sum + region.size, 0)
  }

  /** The regions that the guest has from its first instruction on. */
  get ram(): readonly GuestRegion[] {
    return this.regions.filter(({ hotPluggable }) => !hotPluggable)
  }

  /** Whether `close()` was called. */
  get closed(): boolean {
    return this.#closed
  }

  /** The region that holds all of `[address, address + length)`, or `undefined`. */
  findRegion(address: number, length: number): GuestRegion | undefined {
    if (this.#closed) throw new VmmError('ERR_CLOSED', 'guest memory is closed')
    if (
      !(
        Number.isSafeInteger(address) &&
        address >= 0 &&
        Number.isSafeInteger(length) &&
        length >= 0
      )
    )
      return undefined
    for (const region of this.regions) {
      const offset = address - region.guestAddress
      if (offset >= 0 && offset < region.size)
        return length <= region.size - offset ? region : undefined
    }
    return undefined
  }

  /** A live view of `[address, address + length)`: what the guest writes shows in it, and the other way round. */
  view(address: number, length: number): Uint8Array {
    const region = this.#region(address, length)
    return region.bytes.subarray(
      address - region.guestAddress,
      address - region.guestAddress + length,
    )
  }

  /** A live `DataView` of `[address, address + length)`. Not for ring indices: its accesses can tear. */
  dataView(address: number, length: number): DataView {
    const region = this.#region(address, length)
    return new DataView(
      region.buffer,
      region.bytes.byteOffset + address - region.guestAddress,
      length,
    )
  }

  /** A copy of `[address, address + length)`. */
  read(address: number, length: number): Uint8Array {
    return this.view(address, length).slice()
  }

  /** Copies `bytes` to `address`. */
  write(address: number, bytes: Uint8Array): void {
    this.view(address, bytes.byteLength).set(bytes)
  }

  /** Fills `[address, address + length)` with one byte value, 0 unless told. */
  fill(address: number, length: number, value = 0): void {
    this.view(address, length).fill(value)
  }

  /** Detaches every view of it. May be called again. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const region of this.regions) region.close()
  }

  #region(address: number, length: number): GuestRegion {
    const region = this.findRegion(address, length)
    if (region) return region
    throw new VmmError(
      'ERR_OUT_OF_RANGE',
      `guest memory [${hex(address)}, +${hex(length)}) lies in no one region`,
      {
        option: 'address',
        value: address,
        expected: `a range inside ${this.regions.map((r) => `[${hex(r.guestAddress)}, ${hex(r.guestAddress + r.size)})`).join(' or ')}`,
      },
    )
  }
}

function hex(value: number): string {
  return `0x${Number(value).toString(16)}`
}
