import type { BusDevice } from '../../bus/bus-device.js'
import { PCI_SLOTS } from './abi.js'

/** Ports of {@link PciHotplug}. */
export const PCI_HOTPLUG_PORTS = 0xc

// Registers of 4 bytes, a bit for each slot.
/** Slots in which a device has come. Reading clears it. */
const UP = 0
/** Slots whose device the guest is asked to let go. Reading clears it. */
const DOWN = 4
/** Written by the guest when it has let the devices of these slots go. */
const EJECT = 8

export interface PciHotplugOptions {
  /** One of the registers that are read has changed: raises the event whose handler reads them. */
  readonly onEvent: () => void
  /** The guest has let go of what is in `slot`. */
  readonly onEject: (slot: number) => void
}

/** What ACPI's methods for coming and going PCI devices read and write: see arch/x86-64/acpi/pci-host.ts. */
export class PciHotplug implements BusDevice {
  readonly name = 'pci-hotplug'
  readonly #options: PciHotplugOptions
  #up = 0
  #down = 0

  constructor(options: PciHotplugOptions) {
    this.#options = options
  }

  /** Tells the guest that there is a device in `slot`. */
  announce(slot: number): void {
    this.#up |= 1 << slot
    this.#options.onEvent()
  }

  /** Asks the guest to let go of the device in `slot`. */
  requestEject(slot: number): void {
    this.#down |= 1 << slot
    this.#options.onEvent()
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (width !== 4) return 2 ** (8 * width) - 1
    const up = this.#up
    const down = this.#down
    if (offset === UP) this.#up = 0
    else if (offset === DOWN) this.#down = 0
    return offset === UP ? up >>> 0 : offset === DOWN ? down >>> 0 : 0
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (offset !== EJECT || width !== 4) return
    for (let slot = 0; slot < PCI_SLOTS; slot++) {
      if (value & (1 << slot)) this.#options.onEject(slot)
    }
  }

  reset(): void {
    this.#up = 0
    this.#down = 0
  }
}
