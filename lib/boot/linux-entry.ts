import type { EntryState } from '../arch/x86-64/entry-state.js'
import { CODE_SEGMENT_64, DATA_SEGMENT, TASK_SEGMENT, writeGdt } from '../arch/x86-64/gdt.js'
import { BOOT_GDT_START, ZERO_PAGE_START } from '../arch/x86-64/layout.js'
import { writeIdentityPageTables } from '../arch/x86-64/page-tables.js'
import type { GuestMemory } from '../memory/guest-memory.js'

const CR0_PE = 1n
const CR0_ET = 1n << 4n
const CR0_PG = 1n << 31n
const CR4_PAE = 1n << 5n
const EFER_LME = 1n << 8n
const EFER_LMA = 1n << 10n

/** The state that Linux's 64-bit boot protocol asks for (boot.rst, "64-bit BOOT PROTOCOL"): RSI points to the zero page. */
export function linuxEntry64(memory: GuestMemory, entryPoint: number): EntryState {
  return {
    rip: BigInt(entryPoint),
    rsi: BigInt(ZERO_PAGE_START),
    // A little stack below the tables, for a kernel that pushes before it has its own.
    rsp: BigInt(BOOT_GDT_START),
    cr0: CR0_PE | CR0_ET | CR0_PG,
    cr3: writeIdentityPageTables(memory),
    cr4: CR4_PAE,
    efer: EFER_LME | EFER_LMA,
    cs: CODE_SEGMENT_64,
    data: DATA_SEGMENT,
    tr: TASK_SEGMENT,
    ...writeGdt(memory, CODE_SEGMENT_64),
  }
}
