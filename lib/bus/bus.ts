import { invalidOption, VmmError } from '../errors.js'
import { RangeMap } from '../util/range-map.js'
import type { BusDevice } from './bus-device.js'

/** Ports of x86, 0 to 0xffff. */
export const PIO_SPACE_SIZE = 0x1_0000
/** Guest-physical addresses that a `number` holds exactly, one bit more than x86 has. */
export const MMIO_SPACE_SIZE = 2 ** 53

/** Ports (`pio`) or guest-physical addresses (`mmio`). */
export type AddressSpaceKind = 'pio' | 'mmio'

/** Where a device answers: `size` addresses (ports, bytes) from `base`. */
export interface BusRange {
  /** Where it begins. */
  readonly base: number
  /** One past the last address. */
  readonly end: number
  /** Who answers there. */
  readonly device: BusDevice
}

/** Learns what comes to a bus and goes from it, so that look-up tables elsewhere follow. */
export interface BusObserver {
  /** A device has come. */
  attached(range: BusRange): void
  /** It has gone. */
  detached(range: BusRange): void
}

const ALL_ONES_64 = 0xffff_ffff_ffff_ffffn

/**
 * One address space of the guest, ports or guest-physical memory, and the devices in it.
 *
 * An access that no device claims, that crosses the end of a device's range, that has a width other than 1, 2, 4 or 8
 * bytes, or that has 8 at a device without `read64`/`write64`, reads as all ones, is not written, and counts in
 * {@link unclaimed}. No access of a guest throws, unless the device does.
 */
export class Bus {
  /** Accesses that reached no device. */
  unclaimed = 0
  /** Of ports or of guest-physical addresses. */
  readonly kind: AddressSpaceKind
  readonly #ranges = new RangeMap<BusRange>()
  readonly #observers = new Set<BusObserver>()
  readonly #spaceSize: number

  constructor(kind: AddressSpaceKind) {
    if (kind !== 'pio' && kind !== 'mmio') throw invalidOption('kind', kind, "'pio' or 'mmio'")
    this.kind = kind
    this.#spaceSize = kind === 'pio' ? PIO_SPACE_SIZE : MMIO_SPACE_SIZE
  }

  /** In order of their bases. */
  get ranges(): readonly BusRange[] {
    return [...this.#ranges]
  }

  /**
   * Lets `device` answer `[base, base + size)`. A device may be at several places; it is told offsets from each's base.
   * @throws VmmError `ERR_INVALID_OPTION` for a range that is empty or not inside the address space,
   *   `ERR_BUS_CONFLICT` if part of it is another's, naming both devices
   */
  attach(base: number, size: number, device: BusDevice): void {
    if (!(Number.isSafeInteger(base) && base >= 0 && base < this.#spaceSize)) {
      throw invalidOption('base', base, `an integer from 0 to ${hex(this.#spaceSize - 1)}`)
    }
    if (!(Number.isSafeInteger(size) && size > 0 && size <= this.#spaceSize - base)) {
      throw invalidOption('size', size, `an integer from 1 to ${hex(this.#spaceSize - base)}`)
    }
    const range: BusRange = { base, end: base + size, device }
    const other = this.#ranges.add(range)
    if (other !== undefined) {
      throw new VmmError(
        'ERR_BUS_CONFLICT',
        `${this.kind}: ${place(range)} overlaps ${place(other)}`,
        { value: base, expected: 'addresses that no other device claims' },
      )
    }
    const told: BusObserver[] = []
    try {
      for (const observer of this.#observers) {
        observer.attached(range)
        told.push(observer)
      }
    } catch (error) {
      for (const observer of told) observer.detached(range)
      this.#ranges.remove(base)
      throw error
    }
  }

  /**
   * Takes away the range that was attached at `base`.
   * @throws VmmError `ERR_INVALID_OPTION` if none begins there
   */
  detach(base: number): void {
    const range = this.#ranges.remove(base)
    if (range === undefined) {
      throw invalidOption('base', base, 'the base of an attached range')
    }
    for (const observer of this.#observers) observer.detached(range)
  }

  /** The range that holds `address`. */
  find(address: number): BusRange | undefined {
    return this.#ranges.find(address)
  }

  /** Tells `observer` of the ranges that are attached already, then of each change. Returns what ends that. */
  observe(observer: BusObserver): () => void {
    for (const range of this.#ranges) observer.attached(range)
    this.#observers.add(observer)
    return () => void this.#observers.delete(observer)
  }

  /** An unsigned integer of `width` bytes: 1, 2 or 4. Any other width reads as 0xffffffff. */
  read(address: number, width: number): number {
    const range = this.#ranges.find(address)
    if (range !== undefined && width <= range.end - address) {
      switch (width) {
        case 1:
          return range.device.read(address - range.base, 1) & 0xff
        case 2:
          return range.device.read(address - range.base, 2) & 0xffff
        case 4:
          return range.device.read(address - range.base, 4) >>> 0
      }
    }
    this.unclaimed++
    return width === 1 ? 0xff : width === 2 ? 0xffff : 0xffff_ffff
  }

  /** `value` is cut to `width` bytes: 1, 2 or 4. Any other width writes nothing. */
  write(address: number, width: number, value: number): void {
    const range = this.#ranges.find(address)
    if (range !== undefined && width <= range.end - address) {
      switch (width) {
        case 1:
          range.device.write(address - range.base, 1, value & 0xff)
          return
        case 2:
          range.device.write(address - range.base, 2, value & 0xffff)
          return
        case 4:
          range.device.write(address - range.base, 4, value >>> 0)
          return
      }
    }
    this.unclaimed++
  }

  /** A read of 8 bytes; all ones where nobody is. */
  read64(address: number): bigint {
    const range = this.#ranges.find(address)
    if (range !== undefined && range.end - address >= 8 && range.device.read64 !== undefined) {
      return BigInt.asUintN(64, range.device.read64(address - range.base))
    }
    this.unclaimed++
    return ALL_ONES_64
  }

  /** A write of 8 bytes, which goes nowhere where nobody is. */
  write64(address: number, value: bigint): void {
    const range = this.#ranges.find(address)
    if (range !== undefined && range.end - address >= 8 && range.device.write64 !== undefined) {
      range.device.write64(address - range.base, BigInt.asUintN(64, value))
      return
    }
    this.unclaimed++
  }
}

function hex(address: number): string {
  return `0x${address.toString(16)}`
}

function place(range: BusRange): string {
  return `${range.device.name} at ${hex(range.base)}-${hex(range.end - 1)}`
}
