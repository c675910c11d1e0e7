import type { BusDevice, Shortcuts } from '../../../bus/bus-device.js'
import type { TransportCounters } from './transport-options.js'

const PAGE = 0x1000

/** The window with all structures of a device, a page each. */
export class VirtioPciWindow implements BusDevice {
  readonly name: string
  readonly shortcuts: Shortcuts
  readonly #structures: readonly BusDevice[]
  readonly #counters: Pick<TransportCounters, 'ignoredReads' | 'ignoredWrites'>

  /** @param structures by page, from the first on */
  constructor(
    name: string,
    structures: readonly BusDevice[],
    shortcuts: Shortcuts,
    counters: Pick<TransportCounters, 'ignoredReads' | 'ignoredWrites'>,
  ) {
    this.name = name
    this.#structures = structures
    this.shortcuts = shortcuts
    this.#counters = counters
  }

  read(offset: number, width: 1 | 2 | 4): number {
    const structure = this.#structures[Math.floor(offset / PAGE)]
    if (structure !== undefined) return structure.read(offset % PAGE, width)
    this.#counters.ignoredReads++
    return 2 ** (8 * width) - 1
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    const structure = this.#structures[Math.floor(offset / PAGE)]
    if (structure !== undefined) structure.write(offset % PAGE, width, value)
    else this.#counters.ignoredWrites++
  }

  // PCI 3.0, 6.8.2, allows 8 bytes for the MSI-X table; elsewhere they are as two accesses too.
  read64(offset: number): bigint {
    if (offset % 8 !== 0) return 0xffff_ffff_ffff_ffffn
    return (BigInt(this.read(offset + 4, 4)) << 32n) | BigInt(this.read(offset, 4))
  }

  write64(offset: number, value: bigint): void {
    if (offset % 8 !== 0) return
    this.write(offset, 4, Number(BigInt.asUintN(32, value)))
    this.write(offset + 4, 4, Number(value >> 32n))
  }
}
