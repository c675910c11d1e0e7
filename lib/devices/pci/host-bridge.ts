import { PCI_CLASS_BRIDGE_HOST } from './abi.js'
import { Ecam } from './ecam.js'
import type { PciBus } from './pci-bus.js'
import { PciDevice } from './pci-device.js'

/** PCI Express Register Range Base Address: where the ECAM window is, 8 bytes. */
export const PCIEXBAR = 0x60
export const PCIEXBAREN = 0x1
/** Programmable Attribute Map: 7 bytes, which of the addresses below 1 MiB are RAM and which ROM. */
export const PAM0 = 0x90
/** System Management RAM control, and its extension. */
export const SMRAM = 0x9d
export const ESMRAMC = 0x9e

/** By PCIEXBAR's bits 2:1: bytes of the window, 1 MiB for each bus that it reaches. */
const ECAM_SIZES = [0x1000_0000, 0x800_0000, 0x400_0000]
const RESERVED_LENGTH = 3

/**
 * The memory controller hub of Intel's Q35 chipset, of which firmware knows these registers (Intel 3 Series datasheet,
 * section 5.1): PCIEXBAR, which places the ECAM window, and PAM and SMRAM, which keep what is written to them and change
 * nothing: below 1 MiB there is RAM.
 */
export class HostBridge extends PciDevice {
  constructor(bus: PciBus) {
    super('host-bridge', { vendorId: 0x8086, deviceId: 0x29c0, classCode: PCI_CLASS_BRIDGE_HOST })
    this.config.define(PCIEXBAR, 4, 0, 0xfc00_0007)
    this.config.define(PCIEXBAR + 4, 4, 0, 0xf)
    this.config.define(PAM0, 1, 0, 0x30)
    for (let pam = PAM0 + 1; pam <= PAM0 + 6; pam++) this.config.define(pam, 1, 0, 0x33)
    this.config.define(SMRAM, 1, 0x02, 0x78)
    this.config.define(ESMRAMC, 1, 0x38, 0x87)
    this.addWindow({ space: 'mmio', device: new Ecam(bus), place: () => this.ecam })
  }

  /** Where the window is, by PCIEXBAR. */
  get ecam(): { base: number; size: number } | undefined {
    const low = this.config.get(PCIEXBAR, 4)
    const length = (low >>> 1) & 3
    if ((low & PCIEXBAREN) === 0 || length === RESERVED_LENGTH) return undefined
    const size = ECAM_SIZES[length]!
    const base = this.config.get(PCIEXBAR + 4, 4) * 2 ** 32 + ((low & 0xfc00_0000) >>> 0)
    return { base: base - (base % size), size }
  }
}
