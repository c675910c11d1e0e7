import type { GuestMemory } from '../../memory/guest-memory.js'
import type { Segment } from './entry-state.js'
import { BOOT_GDT_START, BOOT_IDT_START } from './layout.js'

/** Selectors that the 64-bit Linux boot protocol asks for: `__BOOT_CS` and `__BOOT_DS`. */
export const BOOT_CS = 0x10
export const BOOT_DS = 0x18
export const BOOT_TSS = 0x20

const CODE = 0xb // execute, read, accessed
const DATA = 0x3 // read, write, accessed
const BUSY_TSS = 0xb

const flat = { base: 0n, limit: 0xffff_ffff, present: 1, dpl: 0, s: 1, g: 1 } as const

export const CODE_SEGMENT_64: Segment = { ...flat, selector: BOOT_CS, type: CODE, db: 0, l: 1 }
export const CODE_SEGMENT_32: Segment = { ...flat, selector: BOOT_CS, type: CODE, db: 1, l: 0 }
export const DATA_SEGMENT: Segment = { ...flat, selector: BOOT_DS, type: DATA, db: 1, l: 0 }
/** A task register that VM entry checks accept (Intel SDM vol. 3, 27.3.1.2): busy, present, no limit to speak of. */
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

/** A segment descriptor as it stands in a GDT (Intel SDM vol. 3, figure 3-8). */
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

/** Writes the boot GDT and returns the two table registers. `code` decides whether the guest starts in 32 or in 64 bits. */
export function writeGdt(
  memory: GuestMemory,
  code: Segment,
): { gdt: { base: bigint; limit: number }; idt: { base: bigint; limit: number } } {
  const entries = [0n, 0n, encodeDescriptor(code), encodeDescriptor(DATA_SEGMENT)]
  const table = memory.dataView(BOOT_GDT_START, entries.length * 8)
  for (const [i, entry] of entries.entries()) table.setBigUint64(i * 8, entry, true)
  memory.fill(BOOT_IDT_START, 8)
  return {
    gdt: { base: BigInt(BOOT_GDT_START), limit: entries.length * 8 - 1 },
    idt: { base: BigInt(BOOT_IDT_START), limit: 7 },
  }
}
