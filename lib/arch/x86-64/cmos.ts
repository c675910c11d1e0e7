import { BASE_MEMORY_END, MMIO_HOLE_END } from './layout.js'

// Where a PC's firmware looks in the CMOS memory for what the machine has: little-endian, at most 16 bits each.
const BASE_MEMORY = 0x15
const EXTENDED_MEMORY = 0x17
const EXTENDED_MEMORY_TOO = 0x30
/** Units of 64 KiB above 16 MiB. */
const MEMORY_ABOVE_16M = 0x34
/** Units of 64 KiB above 4 GiB, 24 bits. */
const MEMORY_ABOVE_4G = 0x5b
/** Processors besides the first. */
const OTHER_CPUS = 0x5f

const KIB = 2 ** 10
const MIB = 2 ** 20
const UNIT = 64 * KIB

/** The CMOS memory's bytes that tell of RAM and processors, by index. */
export function cmosContents(
  ram: readonly { guestAddress: number; size: number }[],
  cpus: number,
): Map<number, number> {
  const contents = new Map<number, number>()
  const set = (index: number, value: number, bytes = 2) => {
    const most = Math.min(Math.floor(value), 2 ** (8 * bytes) - 1)
    for (let i = 0; i < bytes; i++) contents.set(index + i, (most >>> (8 * i)) & 0xff)
  }
  const low = ram[0]?.size ?? 0
  const high = ram
    .filter(({ guestAddress }) => guestAddress >= MMIO_HOLE_END)
    .reduce((sum, { size }) => sum + size, 0)
  const extended = Math.max(0, low - MIB) / KIB
  set(BASE_MEMORY, BASE_MEMORY_END / KIB)
  set(EXTENDED_MEMORY, extended)
  set(EXTENDED_MEMORY_TOO, extended)
  set(MEMORY_ABOVE_16M, Math.max(0, low - 16 * MIB) / UNIT)
  set(MEMORY_ABOVE_4G, high / UNIT, 3)
  set(OTHER_CPUS, cpus - 1, 1)
  return contents
}
