import type { BusDevice } from '../../bus/bus-device.js'
import {
  PCI_BASE_ADDRESS_0,
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_BASE_ADDRESS_SPACE_IO,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
} from './abi.js'
import type { ConfigSpace } from './config-space.js'

/** A range of addresses whose place the guest chooses. */
export interface AddressWindow {
  /** Ports or memory. */
  readonly space: 'pio' | 'mmio'
  /** What answers there. */
  readonly device: BusDevice
  /** Where the registers say that it is and how many bytes it has; `undefined` while it is not decoded. */
  place(): { readonly base: number; readonly size: number } | undefined
  /** It is at `base` from now on, or nowhere. */
  readonly moved?: ((base: number | undefined) => void) | undefined
}

/** What a device asks for by one base address register. */
export interface BarOptions {
  /** `memory64` takes up the register after it too. */
  readonly kind: 'memory32' | 'memory64' | 'io'
  /** Bytes: a power of two, from 16 for memory, from 4 to 256 for ports. */
  readonly size: number
  /** Reads have no side effects. `false` unless told. */
  readonly prefetchable?: boolean
  /** What answers there. */
  readonly device: BusDevice
  /** It is at `base` from now on, or nowhere. */
  readonly moved?: (base: number | undefined) => void
}

/** A base address register (PCI 3.0, 6.2.5.1): what is written of it reads back, but for the bits that its size makes 0. */
export class Bar implements AddressWindow {
  /** Ports or memory. */
  readonly space: 'pio' | 'mmio'
  readonly device: BusDevice
  /** Bytes. */
  readonly size: number
  /** Which of the device's, from 0 to 5. */
  readonly index: number
  /** As it was asked for. */
  readonly kind: BarOptions['kind']
  readonly moved: ((base: number | undefined) => void) | undefined
  readonly #config: ConfigSpace
  readonly #offset: number

  constructor(config: ConfigSpace, index: number, options: BarOptions) {
    const { kind, size, prefetchable = false, device, moved } = options
    this.#config = config
    this.#offset = PCI_BASE_ADDRESS_0 + 4 * index
    this.index = index
    this.space = kind === 'io' ? 'pio' : 'mmio'
    this.kind = kind
    this.size = size
    this.device = device
    this.moved = moved
    const flags =
      kind === 'io'
        ? PCI_BASE_ADDRESS_SPACE_IO
        : (kind === 'memory64' ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
          (prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0)
    const mask = -BigInt(size)
    config.define(this.#offset, 4, flags, Number(BigInt.asUintN(32, mask)))
    if (kind === 'memory64') {
      config.define(this.#offset + 4, 4, 0, Number(BigInt.asUintN(32, mask >> 32n)))
    }
  }

  /** The address in the register, decoded or not. Above 2^53 it is inexact, and no window of a host bridge is there. */
  get address(): number {
    const low = this.#config.get(this.#offset, 4)
    if (this.kind === 'io') return low - (low % 4)
    const high = this.kind === 'memory64' ? this.#config.get(this.#offset + 4, 4) : 0
    return high * 2 ** 32 + (low - (low % 16))
  }

  /** Puts an address into the register, as firmware does. */
  set address(address: number) {
    this.#config.write(this.#offset, 4, address % 2 ** 32)
    if (this.kind === 'memory64') {
      this.#config.write(this.#offset + 4, 4, Math.floor(address / 2 ** 32))
    }
  }

  place(): { base: number; size: number } | undefined {
    const enable = this.kind === 'io' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY
    if ((this.#config.get(PCI_COMMAND, 2) & enable) === 0) return undefined
    return { base: this.address, size: this.size }
  }
}
