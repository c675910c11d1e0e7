import type { GuestMemory } from '../../../memory/guest-memory.js'

/** One region's bytes at three widths, built once so that the paths of every request allocate nothing. */
export interface RegionAccess {
  readonly guestAddress: number
  readonly size: number
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
}

/** Where an address that is no guest address is kept: it lies in no region. */
export const NO_ADDRESS = 2 ** 53

/** A 64-bit little-endian guest address from its halves; {@link NO_ADDRESS} for 2^53 and above. */
export function guestAddress(low: number, high: number): number {
  return high < 2 ** 21 ? high * 2 ** 32 + low : NO_ADDRESS
}

/** Bounds-checked typed access to guest memory by guest-physical address. */
export class GuestAccess {
  readonly memory: GuestMemory
  readonly #regions: readonly RegionAccess[]
  #last: RegionAccess | undefined

  constructor(memory: GuestMemory) {
    this.memory = memory
    this.#regions = memory.regions.map(({ guestAddress, size, buffer, bytes }) => ({
      guestAddress,
      size,
      u8: bytes,
      u16: new Uint16Array(buffer, bytes.byteOffset, size / 2),
      u32: new Uint32Array(buffer, bytes.byteOffset, size / 4),
    }))
    this.#last = this.#regions[0]
  }

  /** The region that holds all of `[address, address + length)`. Neither need be sane. */
  find(address: number, length: number): RegionAccess | undefined {
    const last = this.#last
    if (last !== undefined) {
      const offset = address - last.guestAddress
      if (offset >= 0 && offset < last.size && length <= last.size - offset) return last
    }
    for (const region of this.#regions) {
      const offset = address - region.guestAddress
      if (offset >= 0 && offset < region.size && length <= region.size - offset) {
        this.#last = region
        return region
      }
    }
    return undefined
  }
}

/** A little-endian 32-bit word of a region at any alignment. */
export function readU32(region: RegionAccess, offset: number): number {
  if (offset % 4 === 0) return region.u32[offset / 4]!
  const { u8 } = region
  return (
    (u8[offset]! | (u8[offset + 1]! << 8) | (u8[offset + 2]! << 16) | (u8[offset + 3]! << 24)) >>> 0
  )
}

/** Where in its buffer a checked area of guest memory lies, for views of it. */
export function areaOf(
  access: GuestAccess,
  address: number,
  bytes: number,
): { buffer: ArrayBuffer; offset: number } {
  const region = access.find(address, bytes)
  if (region === undefined) throw new RangeError('the geometry was not checked')
  return {
    buffer: region.u8.buffer as ArrayBuffer,
    offset: region.u8.byteOffset + address - region.guestAddress,
  }
}
