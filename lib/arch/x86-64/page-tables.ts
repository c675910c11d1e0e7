import type { GuestMemory } from '../../memory/guest-memory.js'
import { BOOT_PAGE_TABLES_SIZE, BOOT_PAGE_TABLES_START, PAGE_SIZE } from './layout.js'

const PRESENT = 1
const WRITABLE = 2
const LARGE = 0x80
const ENTRIES = 512
const GIB_MAPPED = 4
const LARGE_PAGE = 0x20_0000

/**
 * Writes long-mode page tables that map the first 4 GiB onto themselves by 2 MiB pages, which every x86-64 CPU has.
 * @returns CR3
 */
export function writeIdentityPageTables(memory: GuestMemory): bigint {
  memory.fill(BOOT_PAGE_TABLES_START, BOOT_PAGE_TABLES_SIZE)
  const tables = memory.dataView(BOOT_PAGE_TABLES_START, BOOT_PAGE_TABLES_SIZE)
  // Every address here is below 2^32: the entries' upper halves stay 0.
  const set = (table: number, index: number, entry: number) =>
    tables.setUint32(table * PAGE_SIZE + index * 8, entry, true)
  const address = (table: number) => BOOT_PAGE_TABLES_START + table * PAGE_SIZE
  set(0, 0, address(1) | PRESENT | WRITABLE)
  for (let gib = 0; gib < GIB_MAPPED; gib++) {
    const directory = 2 + gib
    set(1, gib, address(directory) | PRESENT | WRITABLE)
    for (let i = 0; i < ENTRIES; i++)
      set(directory, i, (gib * ENTRIES + i) * LARGE_PAGE + (PRESENT | WRITABLE | LARGE))
  }
  return BigInt(BOOT_PAGE_TABLES_START)
}
