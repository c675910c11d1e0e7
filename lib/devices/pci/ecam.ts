import type { BusDevice } from '../../bus/bus-device.js'
import { PCI_CFG_SPACE_EXP_SIZE } from './abi.js'
import type { PciBus } from './pci-bus.js'

/** Configuration space in memory: 4 KiB for each function, 1 MiB for each bus (PCI Express Base 7.2.2). */
export class Ecam implements BusDevice {
  readonly name = 'pci-ecam'
  readonly #bus: PciBus

  constructor(bus: PciBus) {
    this.#bus = bus
  }

  read(offset: number, width: 1 | 2 | 4): number {
    return this.#bus.readConfig(configAddress(offset), width)
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    this.#bus.writeConfig(configAddress(offset), width, value)
  }
}

function configAddress(offset: number) {
  return {
    bus: offset >>> 20,
    slot: (offset >>> 15) & 0x1f,
    fn: (offset >>> 12) & 7,
    offset: offset % PCI_CFG_SPACE_EXP_SIZE,
  }
}
