import type { GuestMemory } from '../../memory/guest-memory.js'
import type { EntryState, Segment } from './entry-state.js'
import { BOOT_GDT_START, BOOT_IDT_START } from './layout.js'

/** Selectors that the 64-bit Linux boot protocol asks for: `__BOOT_CS` and `__BOOT_DS`. */
export const BOOT_CS = 0x10
export const BOOT_DS = 0x18
export const BOOT_TSS = 0x20

// Segment types (Intel SDM vol. 3, tables 3-1 and 3-2).
const CODE = 0xb // execute, read, accessed
const DATA = 0x3 // read, write, accessed
const BUSY_TSS = 0xb

const flat = { base: 0n, limit: 0xffff_ffff, present: 1, dpl: 0, s: 1, g: 1 } as const

export const CODE_SEGMENT_64: Segment = { ...flat, selector: BOOT_CS, type: CODE, db: 0, l: 1 }
export const CODE_SEGMENT_32: Segment = { ...flat, selector: BOOT_CS, type: CODE, db: 1, l: 0 }
export const DATA_SEGMENT: Segment = { ...flat, selector: BOOT_DS, type: DATA, db: 1, l: 0 }
/** The least that VM entry's checks accept (Intel SDM vol. 3, section 27.3.1.2): a busy TSS of the smallest size. */
export const TASK_SEGMENT: Segment = {
  base: 0n,
  limit: 0x67,
  selector: BOOT_TSS,
  type: BUSY_TSS,
  present: 1,
  dpl: 0,
  db: 0,
  s: 0,
  l: 0,
  g: 0,
}

/** The low 8 bytes of a segment's descriptor as it stands in a GDT (Intel SDM vol. 3, figure 3-8). */
export function encodeDescriptor(segment: Segment): bigint {
  const limit = BigInt(segment.g ? Math.floor(segment.limit / 4096) : segment.limit)
  const access = BigInt(
    segment.type | (segment.s << 4) | (segment.dpl << 5) | (segment.present << 7),
  )
  const flags = BigInt((segment.l << 1) | (segment.db << 2) | (segment.g << 3))
  return (
    (limit & 0xffffn) |
    ((segment.base & 0xff_ffffn) << 16n) |
    (access << 40n) |
    (((limit >> 16n) & 0xfn) << 48n) |
    (flags << 52n) |
    (((segment.base >> 24n) & 0xffn) << 56n)
  )
}

/**
 * Writes the boot GDT and an empty IDT.
 * @param code {@link CODE_SEGMENT_64} or {@link CODE_SEGMENT_32}
 * @returns the two table registers
 */
export function writeGdt(memory: GuestMemory, code: Segment): Pick<EntryState, 'gdt' | 'idt'> {
  // In long mode a task descriptor takes two places, the second for the base's upper half.
  const entries = [0n, 0n, ...[code, DATA_SEGMENT, TASK_SEGMENT].map(encodeDescriptor), 0n]
  const table = memory.dataView(BOOT_GDT_START, entries.length * 8)
  for (const [i, entry] of entries.entries()) table.setBigUint64(i * 8, entry, true)
  memory.fill(BOOT_IDT_START, 8)
  return {
    gdt: { base: BigInt(BOOT_GDT_START), limit: entries.length * 8 - 1 },
    idt: { base: BigInt(BOOT_IDT_START), limit: 0 },
  }
}
