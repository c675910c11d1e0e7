import { BASE_MEMORY_END, BIOS_DATA_AREA_START } from '../arch/x86-64/layout.js'
import type { GuestMemory } from '../memory/guest-memory.js'

// Offsets in the BIOS data area.
const EBDA_SEGMENT = 0x0e
const BASE_MEMORY_KIB = 0x13

/**
 * Writes what a PC's BIOS leaves about memory below 1 MiB: where its extended data area (EBDA) is, and how much there is
 * below that. Kernels whose loaders run on a BIOS look for a place for their trampoline by these.
 */
export function writeBiosDataArea(memory: GuestMemory): void {
  const view = memory.dataView(BIOS_DATA_AREA_START, BASE_MEMORY_KIB + 2)
  view.setUint16(EBDA_SEGMENT, BASE_MEMORY_END / 16, true)
  view.setUint16(BASE_MEMORY_KIB, BASE_MEMORY_END / 1024, true)
  // The EBDA's first byte is its size in KiB.
  memory.write(BASE_MEMORY_END, Uint8Array.of(1))
}
