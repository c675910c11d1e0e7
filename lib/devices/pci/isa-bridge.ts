import { PCI_CLASS_BRIDGE_ISA } from './abi.js'
import { PciDevice } from './pci-device.js'

/** The slot in which the firmware for Q35 looks for it. */
export const ISA_BRIDGE_SLOT = 31

// Intel ICH9 datasheet, section 13.1
export const PMBASE = 0x40
export const ACPI_CNTL = 0x44
const PIRQ_ROUT = [0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b]
const GEN_PMCON_1 = 0xa0
const RCBA = 0xf0

/**
 * The LPC bridge of Intel's ICH9, for firmware that expects one beside the {@link HostBridge}. Its registers keep what is
 * written to them and change nothing: what they would place is where this machine has it.
 */
export class IsaBridge extends PciDevice {
  constructor() {
    super('isa-bridge', { vendorId: 0x8086, deviceId: 0x2918, classCode: PCI_CLASS_BRIDGE_ISA })
    this.config.define(PMBASE, 4, 0x1, 0xff80)
    this.config.define(ACPI_CNTL, 1, 0, 0x87)
    for (const register of PIRQ_ROUT) this.config.define(register, 1, 0x80, 0x8f)
    this.config.define(GEN_PMCON_1, 2, 0, 0x1b1f)
    this.config.define(RCBA, 4, 0, 0xffff_c001)
  }
}
