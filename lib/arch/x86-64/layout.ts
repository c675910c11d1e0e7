import { alignUp } from '../../util/bits.js'

/**
 * Where things lie in the guest's physical memory, in order, and which ports and interrupts the devices have.
 * Every magic number of the machine is here.
 */

export const PAGE_SIZE = 0x1000

/** What a BIOS leaves about the machine, 256 bytes. */
export const BIOS_DATA_AREA_START = 0x400
/** The boot GDT: null, null, code, data, task. */
export const BOOT_GDT_START = 0x500
/** The boot IDT: empty, so that a fault before the kernel has its own is fatal at once. */
export const BOOT_IDT_START = 0x540
/** What a boot protocol hands over besides Linux's zero page: PVH's start info, Multiboot's information; one page. */
export const BOOT_INFO_START = 0x6000
/** Linux's `struct boot_params`, one page. */
export const ZERO_PAGE_START = 0x7000
/** PML4, PDPT and 4 page directories: an identity map of the first 4 GiB. */
export const BOOT_PAGE_TABLES_START = 0x9000
export const BOOT_PAGE_TABLES_SIZE = 6 * PAGE_SIZE
/** The kernel's command line, up to 64 KiB. */
export const COMMAND_LINE_START = 0x2_0000
export const COMMAND_LINE_SIZE = 0x1_0000
/** End of what the e820 map gives out below 1 MiB: 639 KiB, as on a PC with 1 KiB of EBDA. */
export const BASE_MEMORY_END = 0x9_fc00
/** The RSDP is looked for from here to 1 MiB on 16-byte boundaries (ACPI 6.5, section 5.2.5.1); the tables follow it. */
export const ACPI_START = 0xe_0000
export const ACPI_SIZE = 0x1_0000
/** The MP floating pointer is looked for from here to 1 MiB (MultiProcessor Specification 1.4, section 4); its table follows. */
export const MP_TABLE_START = 0xf_0000
export const MP_TABLE_SIZE = 0x1_0000
/** Extended memory; where kernels are loaded. */
export const HIGH_MEMORY_START = 0x10_0000

/** RAM ends below the hole that devices' memory lies in, and goes on above 4 GiB. */
export const MMIO_HOLE_START = 0xb000_0000
export const MMIO_HOLE_END = 0x1_0000_0000

/** PCI's configuration space in memory, 1 MiB for each bus: where the firmware for Intel's Q35 puts it, too. */
export const PCI_ECAM_START = 0xb000_0000
export const PCI_ECAM_SIZE = 0x1000_0000
/** What the host bridge passes on to PCI. The first is where windows are put for a kernel that is started without firmware. */
export const PCI_MEMORY_START = 0xc000_0000
export const PCI_MEMORY_SIZE = 0x1000_0000

/** The virtio-mmio windows, one page each, of which a transport answers the first 512 bytes. */
export const VIRTIO_MMIO_START = 0xd000_0000
export const VIRTIO_MMIO_STRIDE = 0x1000
export const VIRTIO_MMIO_SLOTS = 16

export const PCI_MEMORY_2_START = 0xe000_0000
export const PCI_MEMORY_2_SIZE = 0x1ec0_0000

export const IOAPIC_START = 0xfec0_0000
export const LAPIC_START = 0xfee0_0000
/**
 * KVM on Intel needs a page for the identity map and three for the TSS, where the guest has no memory (KVM API 4.38, 4.39):
 * below what a firmware of up to 16 MiB takes.
 */
export const KVM_IDENTITY_MAP_START = 0xfeff_c000
export const KVM_TSS_START = 0xfeff_d000
/** A firmware's ROM ends where the processor starts, 16 bytes below 4 GiB; its last 128 KiB show below 1 MiB as well. */
export const ROM_END = 0x1_0000_0000
export const LOW_ROM_SIZE = 0x2_0000

/** Guests write what they say while nothing else works there, and the code that they end with. */
export const DEBUGCON_PORT = 0xe9
export const DEBUG_EXIT_PORT = 0xf4
export const PVPANIC_PORT = 0x505

export const CMOS_PORT = 0x70
export const FW_CFG_PORT = 0x510
/** Firmware shows its progress here; Linux writes to it to wait a microsecond. */
export const POST_CODE_PORT = 0x80
export const SYSTEM_CONTROL_PORT = 0x92
export const I8042_DATA_PORT = 0x60
export const COM1_PORT = 0x3f8
/** ACPI's fixed hardware, as devices/legacy/acpi-pm.ts has it: each register block's offset from the first port. */
export const ACPI_PM_PORT = 0x600
export const ACPI_PM1_EVENT = 0x0
export const ACPI_PM1_CONTROL = 0x4
export const ACPI_PM_TIMER = 0x8
export const ACPI_GPE0 = 0x6
export const ACPI_RESET = 0xc
/** Which PCI slots are to be looked at, and which let go: devices/pci/pci-hotplug.ts. */
export const PCI_HOTPLUG_PORT = 0x610
export const PCI_CONFIG_PORT = 0xcf8
/** Ports of PCI devices begin here: those below are ISA's. */
export const PCI_IO_START = 0x1000
export const PCI_IO_SIZE = 0xf000
export const RESET_CONTROL_PORT = 0xcf9

export const COM1_GSI = 4
export const CMOS_GSI = 8
export const SCI_GSI = 9
export const IOAPIC_PINS = 24
/**
 * An IOAPIC pin for each virtio-mmio window: interrupts by edge are not shared. First those that a PC leaves to PCI, then
 * those above ISA's, then those of devices that this machine has not.
 */
export const VIRTIO_MMIO_GSIS: readonly number[] = [
  5, 10, 11, 12, 16, 17, 18, 19, 20, 21, 22, 23, 3, 7, 14, 15,
]

/** Interrupt pins of PCI: INTA# of the device in slot n is wired to the pin n modulo 8 of these. */
export const PCI_GSIS: readonly number[] = [16, 17, 18, 19, 20, 21, 22, 23]

/** What hot-pluggable memory begins at a multiple of: the largest block in which Linux adds memory. */
const HOT_MEMORY_ALIGNMENT = 0x8000_0000

/** The most that one range has: what one ArrayBuffer can hold. */
const RANGE_MAX = 0x1_0000_0000

/** Guest-physical ranges of `size` bytes of RAM: below the hole, and above 4 GiB what does not fit there. */
export function ramRanges(size: number): { guestAddress: number; size: number }[] {
  const low = Math.min(size, MMIO_HOLE_START)
  return [{ guestAddress: 0, size: low }, ...rangesFrom(MMIO_HOLE_END, size - low)]
}

/** Guest-physical ranges of `size` bytes that may be plugged in, above `ramSize` bytes of RAM and the hole. */
export function hotMemoryRanges(
  ramSize: number,
  size: number,
): { guestAddress: number; size: number }[] {
  const last = ramRanges(ramSize).at(-1)!
  const end = Math.max(MMIO_HOLE_END, last.guestAddress + last.size)
  return rangesFrom(alignUp(end, HOT_MEMORY_ALIGNMENT), size)
}

function rangesFrom(start: number, size: number): { guestAddress: number; size: number }[] {
  return Array.from({ length: Math.ceil(size / RANGE_MAX) }, (_, i) => {
    const done = i * RANGE_MAX
    return { guestAddress: start + done, size: Math.min(RANGE_MAX, size - done) }
  })
}
