import { describe, expect, it } from 'vitest'
import {
  IOAPIC_START,
  LAPIC_START,
  MP_TABLE_SIZE,
  MP_TABLE_START,
} from '../../../lib/arch/x86-64/layout.js'
import { buildMpTable } from '../../../lib/arch/x86-64/mp-table.js'

const cpus = (count: number) => Array.from({ length: count }, (_, apicId) => ({ apicId }))
const table = (count: number) =>
  buildMpTable({
    address: MP_TABLE_START,
    cpus: cpus(count),
    ioapic: { address: IOAPIC_START },
    gsis: Array.from({ length: 24 }, (_, gsi) => gsi),
  })
const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => total + byte, 0) & 0xff
const ENTRY_SIZES = [20, 8, 8, 8, 8]

/** The entries, found as a guest finds them: from the floating pointer by the header's count. */
function entriesOf(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer)
  const header = view.getUint32(4, true) - MP_TABLE_START
  const entries: Uint8Array[] = []
  let at = header + 44
  for (let i = 0; i < view.getUint16(header + 34, true); i++) {
    const size = ENTRY_SIZES[bytes[at]!]!
    entries.push(bytes.subarray(at, at + size))
    at += size
  }
  expect(at).toBe(bytes.length)
  return entries
}

describe('the MP table', () => {
  it('has signatures and checksums', () => {
    const bytes = table(4)
    const text = new TextDecoder().decode(bytes)
    expect(text.slice(0, 4)).toBe('_MP_')
    expect(text.slice(16, 20)).toBe('PCMP')
    expect(sum(bytes.subarray(0, 16))).toBe(0)
    expect(sum(bytes.subarray(16))).toBe(0)
    expect(new DataView(bytes.buffer).getUint16(20, true)).toBe(bytes.length - 16)
  })

  it('has each header field in its place', () => {
    const bytes = table(4)
    const view = new DataView(bytes.buffer)
    // Floating pointer: address of the table, its own length in 16 bytes, version 1.4, checksum, no features.
    expect(view.getUint32(4, true)).toBe(MP_TABLE_START + 16)
    expect([...bytes.subarray(8, 10)]).toEqual([1, 4])
    expect([...bytes.subarray(11, 16)]).toEqual([0, 0, 0, 0, 0])
    const header = new DataView(bytes.buffer, 16)
    expect(header.getUint8(6)).toBe(4)
    expect(new TextDecoder().decode(bytes.subarray(24, 44))).toBe('NODEKVM NODE-KVM    ')
    expect([header.getUint32(28, true), header.getUint16(32, true)]).toEqual([0, 0])
    // 4 processors, a bus, an IOAPIC, 24 interrupts, LINT0 and LINT1.
    expect(header.getUint16(34, true)).toBe(32)
    expect(header.getUint32(36, true)).toBe(LAPIC_START)
    expect(header.getUint32(40, true)).toBe(0)
  })

  it('fits its place, whatever there is', () => {
    expect(table(300).length).toBeLessThanOrEqual(6 * 1024)
    expect(table(300).length).toBeLessThanOrEqual(MP_TABLE_SIZE)
  })

  it('lists processors, the ISA bus, the IOAPIC and every interrupt', () => {
    const entries = entriesOf(table(3))
    const ofType = (type: number) => entries.filter(([first]) => first === type)
    expect(ofType(0).map((cpu) => [cpu[1], cpu[3]])).toEqual([
      [0, 3],
      [1, 1],
      [2, 1],
    ])
    expect(ofType(1)).toHaveLength(1)
    const ioapic = ofType(2)[0]!
    expect(ioapic[1]).toBe(3)
    expect(new DataView(ioapic.buffer, ioapic.byteOffset).getUint32(4, true)).toBe(IOAPIC_START)
    expect(ofType(3).map((entry) => [entry[5], entry[6], entry[7]])).toEqual(
      Array.from({ length: 24 }, (_, gsi) => [gsi, 3, gsi]),
    )
    expect(ofType(4).map((entry) => [entry[1], entry[7]])).toEqual([
      [3, 0],
      [1, 1],
    ])
  })

  it('leaves out what 8-bit ids cannot name', () => {
    expect(entriesOf(table(300)).filter(([type]) => type === 0)).toHaveLength(255)
  })
})
