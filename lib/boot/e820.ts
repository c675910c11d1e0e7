import { BASE_MEMORY_END, HIGH_MEMORY_START } from '../arch/x86-64/layout.js'

export const E820_RAM = 1
export const E820_RESERVED = 2

/** Of `struct boot_e820_entry`: address, size and type, packed. */
export const E820_ENTRY_SIZE = 20

export interface E820Entry {
  readonly address: number
  readonly size: number
  readonly type: number
}

/**
 * What of the guest's memory it may use: base memory, and all from 1 MiB on. Regions that touch become one entry, so that
 * there are at most four, whatever the size.
 * @param ram in order of addresses
 */
export function e820Map(ram: readonly { guestAddress: number; size: number }[]): E820Entry[] {
  const entries: E820Entry[] = [
    { address: 0, size: BASE_MEMORY_END, type: E820_RAM },
    {
      address: BASE_MEMORY_END,
      size: HIGH_MEMORY_START - BASE_MEMORY_END,
      type: E820_RESERVED,
    },
  ]
  for (const { guestAddress, size } of ram) {
    const address = Math.max(guestAddress, HIGH_MEMORY_START)
    const end = guestAddress + size
    const last = entries.at(-1)!
    if (end <= address) continue
    if (last.type === E820_RAM && last.address + last.size === address) {
      entries[entries.length - 1] = { ...last, size: end - last.address }
    } else {
      entries.push({ address, size: end - address, type: E820_RAM })
    }
  }
  return entries
}

/** Writes the entries as `struct boot_e820_entry`, one behind the other, from offset `at` on. */
export function writeE820(view: DataView, at: number, entries: readonly E820Entry[]): void {
  for (const { address, size, type } of entries) {
    view.setBigUint64(at, BigInt(address), true)
    view.setBigUint64(at + 8, BigInt(size), true)
    view.setUint32(at + 16, type, true)
    at += E820_ENTRY_SIZE
  }
}
