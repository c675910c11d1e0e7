import { describe, expect, it } from 'vitest'
import {
  BOOT_TSS,
  CODE_SEGMENT_32,
  CODE_SEGMENT_64,
  DATA_SEGMENT,
  encodeDescriptor,
  TASK_SEGMENT,
  writeGdt,
} from '../../../lib/arch/x86-64/gdt.js'
import { bootMsrs, setLocalInterrupts } from '../../../lib/arch/x86-64/msrs.js'
import { writeIdentityPageTables } from '../../../lib/arch/x86-64/page-tables.js'
import { guestRam } from '../../helpers/guest-ram.js'

describe('the boot GDT', () => {
  it('has the descriptors that every flat machine has', () => {
    expect(encodeDescriptor(CODE_SEGMENT_64)).toBe(0x00af_9b00_0000_ffffn)
    expect(encodeDescriptor(CODE_SEGMENT_32)).toBe(0x00cf_9b00_0000_ffffn)
    expect(encodeDescriptor(DATA_SEGMENT)).toBe(0x00cf_9300_0000_ffffn)
    expect(encodeDescriptor(TASK_SEGMENT)).toBe(0x0000_8b00_0000_0067n)
  })

  it('takes a base apart', () => {
    expect(encodeDescriptor({ ...TASK_SEGMENT, base: 0x1234_5678n })).toBe(0x1200_8b34_5678_0067n)
  })

  it('stands in memory where the selectors point', () => {
    const memory = guestRam(0x10_0000)
    const { gdt, idt } = writeGdt(memory, CODE_SEGMENT_64)
    const table = memory.dataView(Number(gdt.base), gdt.limit + 1)
    for (const segment of [CODE_SEGMENT_64, DATA_SEGMENT, TASK_SEGMENT]) {
      expect(table.getBigUint64(segment.selector, true)).toBe(encodeDescriptor(segment))
    }
    // A 64-bit task descriptor has 16 bytes, all of them within the limit.
    expect(gdt.limit + 1).toBe(BOOT_TSS + 16)
    expect(Number(idt.base)).toBeGreaterThan(Number(gdt.base) + gdt.limit)
    expect(idt.limit).toBe(0)
  })
})

describe('the boot page tables', () => {
  /** Walks the tables as a CPU does. */
  function translate(memory: ReturnType<typeof guestRam>, cr3: bigint, address: number): number {
    const at = BigInt(address)
    let table = cr3
    for (const shift of [39n, 30n, 21n, 12n]) {
      const entry = memory
        .dataView(Number(table + ((at >> shift) & 511n) * 8n), 8)
        .getBigUint64(0, true)
      if ((entry & 3n) !== 3n) throw new Error(`${address} is not mapped writable`)
      const frame = entry & 0xf_ffff_ffff_f000n
      if (entry & 0x80n) return Number(frame | (at & ((1n << shift) - 1n)))
      table = frame
    }
    return Number(table | (at & 0xfffn))
  }

  it('map the first 4 GiB onto themselves, and no more', () => {
    const memory = guestRam(0x10_0000)
    // Whatever lay there before must not show.
    memory.fill(0, 0x10_0000, 0xff)
    const cr3 = writeIdentityPageTables(memory)
    for (const address of [0, 0x7000, 0x10_0000, 0x1f_ffff, 0x20_0000, 2 ** 30 - 1, 2 ** 30]) {
      expect(translate(memory, cr3, address)).toBe(address)
    }
    for (let address = 0; address < 2 ** 32; address += 2 ** 21) {
      expect(translate(memory, cr3, address)).toBe(address)
    }
    for (const address of [2 ** 32, 2 ** 39, 2 ** 47]) {
      expect(() => translate(memory, cr3, address)).toThrow('not mapped')
    }
  })
})

describe('the state that firmware leaves', () => {
  it('has write-back memory and fast strings', () => {
    expect(bootMsrs()).toEqual([
      { index: 0x1a0, data: 1n },
      { index: 0x2ff, data: 0x806n },
    ])
  })

  it('wires LINT0 to the PIC and LINT1 to NMI, and keeps their masks', () => {
    const lapic = new Uint8Array(0x400)
    const registers = new DataView(lapic.buffer)
    registers.setUint32(0x350, 0x1_0000, true)
    registers.setUint32(0x360, 0x0_0200, true)
    setLocalInterrupts(lapic)
    expect(registers.getUint32(0x350, true)).toBe(0x1_0700)
    expect(registers.getUint32(0x360, true)).toBe(0x0_0400)
  })
})
