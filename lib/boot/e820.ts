import { ACPI_SIZE, ACPI_START, BASE_MEMORY_END, HIGH_MEMORY_START } from '../arch/x86-64/layout.js'

export const E820_RAM = 1
export const E820_RESERVED = 2

export interface E820Entry {
  readonly address: number
  readonly size: number
  readonly type: number
}

/** What of the guest's memory it may use: base memory, and all above 1 MiB. */
export function e820Map(ram: readonly { guestAddress: number; size: number }[]): E820Entry[] {
  const entries: E820Entry[] = [
    { address: 0, size: BASE_MEMORY_END, type: E820_RAM },
    {
      address: BASE_MEMORY_END,
      size: ACPI_START + ACPI_SIZE - BASE_MEMORY_END,
      type: E820_RESERVED,
    },
  ]
  for (const { guestAddress, size } of ram) {
    const start = Math.max(guestAddress, HIGH_MEMORY_START)
    const end = guestAddress + size
    if (end > start) entries.push({ address: start, size: end - start, type: E820_RAM })
  }
  return entries
}
