import type { PciHostOptions } from '../arch/x86-64/acpi/pci-host.js'
import { PCI_HOTPLUG_GPE } from '../arch/x86-64/acpi/pci-host.js'
import { physicalAddressBits } from '../arch/x86-64/cpuid.js'
import * as layout from '../arch/x86-64/layout.js'
import type { AcpiPm } from '../devices/legacy/acpi-pm.js'
import { PCI_SLOTS } from '../devices/pci/abi.js'
import { assignAddresses } from '../devices/pci/assign-addresses.js'
import { PCI_CONFIG_PORTS, PciConfigPorts } from '../devices/pci/config-ports.js'
import { HostBridge, PCIEXBAR, PCIEXBAREN } from '../devices/pci/host-bridge.js'
import { intxLine, PciBus } from '../devices/pci/pci-bus.js'
import { PCI_HOTPLUG_PORTS, PciHotplug } from '../devices/pci/pci-hotplug.js'
import type { AddressRange } from '../devices/pci/window-decoder.js'
import { IrqfdMsi } from '../interrupt/irqfd-msi.js'
import type { CpuidEntry } from '../kvm/abi/cpuid.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { DEVICE_SLOTS, HOST_BRIDGE_SLOT } from './pci-slots.js'
import type { Platform } from './platform.js'

const range = (start: number, size: number): AddressRange => ({ start, end: start + size })

const IO_WINDOW = range(layout.PCI_IO_START, layout.PCI_IO_SIZE)
const MEMORY_WINDOW = range(layout.PCI_MEMORY_START, layout.PCI_MEMORY_SIZE)
const MEMORY_WINDOW_2 = range(layout.PCI_MEMORY_2_START, layout.PCI_MEMORY_2_SIZE)
/**
 * The guest is told of the one bus that there is: Linux looks for devices on every bus that MCFG has, which for 256 buses
 * is 8,192 reads.
 */
const ECAM_BUS_SIZE = 0x10_0000

/** More address bits than this the 64-bit window does not use. */
const ADDRESS_BITS_MAX = 46

/** A machine's PCI: its one bus, and the ways to it. */
export interface PciHost {
  readonly bus: PciBus
  readonly bridge: HostBridge
  readonly hotplug: PciHotplug
  /** For the DSDT and MCFG. */
  readonly description: PciHostOptions
  /** Does what firmware would do, for a guest that is started without. */
  assignAddresses(): void
}

/** Puts a host bridge on the machine's buses, with configuration by ports and, where the guest places it, by memory. */
export function createPciHost(
  { vm, memory, pio, mmio, supportedCpuid, resettable, irqchip }: Platform,
  { acpiPm, onEject }: { acpiPm: AcpiPm; onEject: (slot: number) => void },
): PciHost {
  const highEnd = Math.max(layout.MMIO_HOLE_END, ...ramEnds(memory))
  const bus = new PciBus({
    pio,
    mmio,
    ranges: {
      memory: [
        { start: lowRamEnd(memory), end: layout.IOAPIC_START },
        { start: highEnd, end: 2 ** 52 },
      ],
      io: [IO_WINDOW],
    },
    lines: layout.PCI_GSIS.map((gsi) => irqchip.line(gsi)),
    slots: DEVICE_SLOTS,
    createMsi: () => new IrqfdMsi(vm, irqchip.routing),
  })
  const resetControl = pio.find(layout.RESET_CONTROL_PORT)?.device
  if (resetControl) pio.detach(layout.RESET_CONTROL_PORT)
  const configPorts = new PciConfigPorts(bus, resetControl)
  pio.attach(layout.PCI_CONFIG_PORT, PCI_CONFIG_PORTS, configPorts)
  const hotplug = new PciHotplug({ onEvent: () => acpiPm.raiseGpe(PCI_HOTPLUG_GPE), onEject })
  pio.attach(layout.PCI_HOTPLUG_PORT, PCI_HOTPLUG_PORTS, hotplug)
  resettable.push(configPorts, hotplug, bus)
  const bridge = new HostBridge(bus)
  bus.plug(bridge, HOST_BRIDGE_SLOT)
  const window64 = highWindow(supportedCpuid, highEnd)
  return {
    bus,
    bridge,
    hotplug,
    description: {
      ecam: { address: layout.PCI_ECAM_START, size: ECAM_BUS_SIZE },
      configPort: layout.PCI_CONFIG_PORT,
      memory: [MEMORY_WINDOW, MEMORY_WINDOW_2, ...(window64 ? [window64] : [])],
      io: IO_WINDOW,
      gsis: Array.from({ length: PCI_SLOTS }, (_, slot) => {
        return layout.PCI_GSIS[intxLine(slot, 0, layout.PCI_GSIS.length)]!
      }),
      hotplugPort: layout.PCI_HOTPLUG_PORT,
      hotplugSlots: DEVICE_SLOTS,
    },
    assignAddresses: () => {
      const pciexbar = { bus: 0, slot: HOST_BRIDGE_SLOT, fn: 0, offset: PCIEXBAR }
      bus.writeConfig(pciexbar, 4, layout.PCI_ECAM_START | PCIEXBAREN)
      assignAddresses(bus, { memory: MEMORY_WINDOW, io: IO_WINDOW })
    },
  }
}

/** Where RAM below the hole ends. */
export function lowRamEnd(memory: GuestMemory): number {
  return Math.max(...ramEnds(memory).filter((end) => end <= layout.MMIO_HOLE_START))
}

const ramEnds = ({ regions }: GuestMemory) =>
  regions.map(({ guestAddress, size }) => guestAddress + size)

/** The upper half of what the processor can address, if no RAM is there. */
function highWindow(cpuid: readonly CpuidEntry[], ramEnd: number): AddressRange | undefined {
  const bits = Math.min(physicalAddressBits(cpuid), ADDRESS_BITS_MAX)
  const start = 2 ** (bits - 1)
  return bits > 32 && start >= ramEnd ? { start, end: 2 * start } : undefined
}
