import { describe, expect, it } from 'vitest'
import * as layout from '../../../lib/arch/x86-64/layout.js'

const GIB = 2 ** 30

describe('the memory map', () => {
  it('gives low memory to one thing only', () => {
    const ranges = [
      ['gdt', layout.BOOT_GDT_START, 0x30],
      ['idt', layout.BOOT_IDT_START, 8],
      ['boot info', layout.BOOT_INFO_START, 0x1000],
      ['zero page', layout.ZERO_PAGE_START, 0x1000],
      ['page tables', layout.BOOT_PAGE_TABLES_START, layout.BOOT_PAGE_TABLES_SIZE],
      ['command line', layout.COMMAND_LINE_START, layout.COMMAND_LINE_SIZE],
      ['reserved', layout.BASE_MEMORY_END, layout.ACPI_START - layout.BASE_MEMORY_END],
      ['acpi', layout.ACPI_START, layout.ACPI_SIZE],
      ['mp table', layout.MP_TABLE_START, layout.MP_TABLE_SIZE],
      ['kernel', layout.HIGH_MEMORY_START, layout.MMIO_HOLE_START - layout.HIGH_MEMORY_START],
      ['ecam', layout.PCI_ECAM_START, layout.PCI_ECAM_SIZE],
      ['pci', layout.PCI_MEMORY_START, layout.PCI_MEMORY_SIZE],
      [
        'virtio-mmio',
        layout.VIRTIO_MMIO_START,
        layout.VIRTIO_MMIO_SLOTS * layout.VIRTIO_MMIO_STRIDE,
      ],
      ['pci again', layout.PCI_MEMORY_2_START, layout.PCI_MEMORY_2_SIZE],
      ['ioapic', layout.IOAPIC_START, 0x1000],
      ['lapic', layout.LAPIC_START, 0x1000],
      ['identity map', layout.KVM_IDENTITY_MAP_START, 0x1000],
      ['tss', layout.KVM_TSS_START, 0x3000],
      ['high memory', layout.MMIO_HOLE_END, GIB],
    ] as const
    for (const [i, [name, start]] of ranges.slice(1).entries()) {
      const [before, from, size] = ranges[i]!
      expect(start, `${before} then ${name}`).toBeGreaterThanOrEqual(from + size)
    }
  })

  it('gives every virtio-mmio window an interrupt of its own', () => {
    const gsis = [...layout.VIRTIO_MMIO_GSIS, layout.COM1_GSI, layout.CMOS_GSI, layout.SCI_GSI]
    expect(layout.VIRTIO_MMIO_GSIS).toHaveLength(layout.VIRTIO_MMIO_SLOTS)
    expect(new Set(gsis).size).toBe(gsis.length)
    expect(Math.max(...gsis)).toBeLessThan(layout.IOAPIC_PINS)
    // The PIT's, the PIC cascade's.
    expect(gsis).not.toContain(0)
    expect(gsis).not.toContain(2)
  })

  it.each([
    [256 * 2 ** 20, [[0, 256 * 2 ** 20]]],
    [2.75 * GIB, [[0, 2.75 * GIB]]],
    [
      2.75 * GIB + 4096,
      [
        [0, 2.75 * GIB],
        [4 * GIB, 4096],
      ],
    ],
    [
      12 * GIB,
      [
        [0, 2.75 * GIB],
        [4 * GIB, 4 * GIB],
        [8 * GIB, 4 * GIB],
        [12 * GIB, 1.25 * GIB],
      ],
    ],
  ])('puts %i bytes of RAM around the hole', (size, expected) => {
    expect(layout.ramRanges(size).map(({ guestAddress, size }) => [guestAddress, size])).toEqual(
      expected,
    )
  })
})
