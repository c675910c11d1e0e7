import { describe, expect, it } from 'vitest'
import * as aml from '../../../../lib/arch/x86-64/acpi/aml.js'
import { resourceTemplate } from '../../../../lib/arch/x86-64/acpi/aml-resources.js'
import { systemTable } from '../../../../lib/arch/x86-64/acpi/sdt.js'
import { disassemble, iaslMissing } from '../../../helpers/iasl.js'

describe('AML', () => {
  it('takes the shortest form of an integer', () => {
    expect(aml.integer(0)).toEqual([0])
    expect(aml.integer(1)).toEqual([1])
    expect(aml.integer(2)).toEqual([0x0a, 2])
    expect(aml.integer(0xff)).toEqual([0x0a, 0xff])
    expect(aml.integer(0x100)).toEqual([0x0b, 0, 1])
    expect(aml.integer(0x1_0000)).toEqual([0x0c, 0, 0, 1, 0])
    expect(aml.integer(0x1_0000_0000)).toEqual([0x0e, 0, 0, 0, 0, 1, 0, 0, 0])
    expect(aml.integer(2n ** 64n - 1n)).toEqual([0x0e, ...Array(8).fill(0xff)])
  })

  // ACPI 6.5, section 20.2.4: the length counts its own bytes.
  it.each([
    [61, [62]],
    [62, [63]],
    [63, [0x41, 0x04]],
    [0xffd, [0x4f, 0xff]],
    [0xffe, [0x81, 0x00, 0x01]],
    [0xf_fffc, [0x8f, 0xff, 0xff]],
    [0xf_fffd, [0xc1, 0x00, 0x00, 0x01]],
  ])('encodes the length of a package of %i bytes', (size, expected) => {
    // The scope's name takes one byte of the body.
    const term = aml.scope('\\', Array<number>(size - 2).fill(0xa3))
    expect(term.slice(1, 1 + expected.length)).toEqual(expected)
    expect(term).toHaveLength(1 + expected.length + size)
  })

  it('encodes names', () => {
    const encoded = (path: string) => String.fromCharCode(...aml.name(path, []).slice(1))
    expect(encoded('_S5')).toBe('_S5_')
    expect(encoded('\\_S5')).toBe('\\_S5_')
    expect(encoded('\\_SB.PCI0')).toBe('\\\x2e_SB_PCI0')
    expect(encoded('_SB.PCI0.COM1')).toBe('\x2f\x03_SB_PCI0COM1')
    expect(encoded('\\')).toBe('\\\0')
  })

  it('encodes EISA ids', () => {
    expect(aml.eisaId('PNP0501')).toEqual([0x0c, 0x41, 0xd0, 0x05, 0x01])
    expect(aml.eisaId('PNP0C0F')).toEqual([0x0c, 0x41, 0xd0, 0x0c, 0x0f])
  })

  it.skipIf(iaslMissing)('means to ACPICA what it says', () => {
    const deep = aml.scope(
      '\\_SB',
      aml.device(
        'TEST',
        aml.name('_HID', aml.string('TEST0001')),
        aml.name('BIG', aml.integer(0x1234_5678_9abc_def0n)),
        aml.name('LIST', aml.pkg(...Array.from({ length: 200 }, (_, i) => aml.integer(i * 1000)))),
        aml.name('BYTE', aml.buffer([1, 2, 3])),
        aml.name('_CRS', resourceTemplate()),
        aml.method('_STA', 0, aml.returns(aml.integer(0xf))),
      ),
    )
    const { asl, messages } = disassemble('SSDT', systemTable('SSDT', 2, deep))
    const line = asl.replace(/\s+/g, ' ')
    expect(messages).toContain('0 Errors, 0 Warnings, 0 Remarks')
    expect(line).toContain('Name (BIG, 0x123456789ABCDEF0)')
    expect(line).toContain('Name (LIST, Package (0xC8)')
    expect(line).toContain('Name (BYTE, Buffer (0x03) { 0x01, 0x02, 0x03 // ... })')
    expect(line).toContain('Method (_STA, 0, NotSerialized) // _STA: Status { Return (0x0F) }')
  })
})
