import type { PciHostOptions } from '../arch/x86-64/acpi/pci-host.js'
import { IOAPIC_START, MMIO_HOLE_END } from '../arch/x86-64/layout.js'
import { lowRamEnd, type PciHost } from './pci-host.js'
import type { Platform } from './platform.js'

/** What a machine's ACPI tables tell of PCI after firmware has placed the ECAM window: devices lie beside it. */
export function placedByFirmware(
  { bridge, description }: PciHost,
  { memory }: Pick<Platform, 'memory'>,
): PciHostOptions {
  const { ecam } = bridge
  // Tables that nobody reads yet, as their size is wanted first.
  if (ecam === undefined || ecam.base > MMIO_HOLE_END - ecam.size) return description
  const { base, size } = ecam
  const below = { start: Math.max(lowRamEnd(memory), LOWEST), end: base }
  const above = { start: base + size, end: IOAPIC_START }
  return {
    ...description,
    ecam: { address: base, size },
    memory: [
      ...[below, above].filter(({ start, end }) => start < end),
      ...description.memory.filter(({ start }) => start >= MMIO_HOLE_END),
    ],
  }
}

/** No firmware for Q35 puts devices lower. */
const LOWEST = 0x8000_0000
