import type { BusDevice, Shortcuts } from '../../bus/bus-device.js'
import type { PciBus } from './pci-bus.js'

/** Ports of configuration mechanism #1, from 0xcf8 on. */
export const PCI_CONFIG_PORTS = 8

const DATA = 4
const ENABLE = 0x8000_0000

/**
 * Configuration mechanism #1 (PCI 3.0, 3.2.2.3.2): CONFIG_ADDRESS at 0xCF8, a double word, and the register that it
 * selects at 0xCFC. Bytes at 0xCF8 to 0xCFB are ports of their own, where a PC has its reset control register at 0xCF9.
 */
export class PciConfigPorts implements BusDevice {
  readonly name = 'pci-config'
  readonly shortcuts: Shortcuts
  readonly #bus: PciBus
  readonly #resetControl: BusDevice | undefined
  #address = 0

  constructor(bus: PciBus, resetControl?: BusDevice) {
    this.#bus = bus
    this.#resetControl = resetControl
    // The address is only looked at by the access to the data.
    const selected = { address: 0, data: DATA, memory: bus.configMemory.words }
    this.shortcuts = { posted: [0], selected }
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (offset >= DATA) {
      const address = this.#selected(offset - DATA)
      return address ? this.#bus.readConfig(address, width) : 2 ** (8 * width) - 1
    }
    if (offset === 0 && width === 4) return this.#address
    if (offset === 1 && width === 1 && this.#resetControl) return this.#resetControl.read(0, 1)
    return 2 ** (8 * width) - 1
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (offset >= DATA) {
      const address = this.#selected(offset - DATA)
      if (address) this.#bus.writeConfig(address, width, value)
    } else if (offset === 0 && width === 4) {
      this.#address = (value & 0x80ff_fffc) >>> 0
    } else if (offset === 1 && width === 1) {
      this.#resetControl?.write(0, 1, value)
    }
  }

  /** Its state after power-on. */
  reset(): void {
    this.#address = 0
    this.#bus.configMemory.deselect()
  }

  #selected(byte: number) {
    const address = this.#address
    if ((address & ENABLE) === 0) return undefined
    return {
      bus: (address >>> 16) & 0xff,
      slot: (address >>> 11) & 0x1f,
      fn: (address >>> 8) & 7,
      offset: (address & 0xfc) + byte,
    }
  }
}
