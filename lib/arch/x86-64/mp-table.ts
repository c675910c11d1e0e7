import { le16, le32, littleEndian } from '../../util/bits.js'
import { ascii } from './acpi/aml.js'
import { setChecksum } from './acpi/sdt.js'
import { LAPIC_START } from './layout.js'

// MultiProcessor Specification 1.4, chapter 4.
const FLOATING_POINTER_SIZE = 16
const HEADER_SIZE = 44
const PROCESSOR = 0
const BUS = 1
const IO_APIC = 2
const IO_INTERRUPT = 3
const LOCAL_INTERRUPT = 4

const CPU_ENABLED = 1
const CPU_BOOTSTRAP = 2
const IO_APIC_ENABLED = 1
const INT = 0
const NMI = 1
const EXT_INT = 3
const ALL_LOCAL_APICS = 0xff
const ISA_BUS = 0
/** Of the integrated local APICs that all CPUs since 1997 have. */
const APIC_VERSION = 0x14
const IOAPIC_VERSION = 0x11

export interface MpTableOptions {
  /** Guest-physical address, on a 16-byte boundary where the floating pointer is looked for. */
  readonly address: number
  /** In order of their numbers; the first is the bootstrap processor. Ids from 255 on cannot be told and are left out. */
  readonly cpus: readonly { readonly apicId: number }[]
  readonly ioapic: { readonly address: number }
  /** Interrupts, each an IOAPIC pin of the same number and, as far as the guest can tell, ISA's. */
  readonly gsis: readonly number[]
}

/**
 * The MP floating pointer and the configuration table behind it, at most 6 KiB: for guests that do without ACPI.
 */
export function buildMpTable({ address, cpus, ioapic, gsis }: MpTableOptions): Uint8Array {
  const listed = cpus.filter(({ apicId }) => apicId < ALL_LOCAL_APICS)
  const ioapicId = 1 + Math.max(...listed.map(({ apicId }) => apicId))
  const entries = [
    ...listed.map(({ apicId }, index) => [
      ...[PROCESSOR, apicId, APIC_VERSION, CPU_ENABLED | (index === 0 ? CPU_BOOTSTRAP : 0)],
      // The CPU's signature and features, which CPUID gives better.
      ...littleEndian(0, 16),
    ]),
    [BUS, ISA_BUS, ...ascii('ISA   ')],
    [IO_APIC, ioapicId & 0xff, IOAPIC_VERSION, IO_APIC_ENABLED, ...le32(ioapic.address)],
    ...gsis.map((gsi) => [IO_INTERRUPT, INT, 0, 0, ISA_BUS, gsi, ioapicId & 0xff, gsi]),
    [LOCAL_INTERRUPT, EXT_INT, 0, 0, ISA_BUS, 0, ALL_LOCAL_APICS, 0],
    [LOCAL_INTERRUPT, NMI, 0, 0, ISA_BUS, 0, ALL_LOCAL_APICS, 1],
  ]
  const body = entries.flat()
  const table = new Uint8Array(FLOATING_POINTER_SIZE + HEADER_SIZE + body.length)
  const header = table.subarray(FLOATING_POINTER_SIZE)
  header.set([
    ...ascii('PCMP'),
    ...le16(header.length),
    4, // specification 1.4
    0, // checksum
    ...ascii('NODEKVM '),
    ...ascii('NODE-KVM    '),
    ...littleEndian(0, 6), // no OEM table
    ...le16(entries.length),
    ...le32(LAPIC_START),
  ])
  header.set(body, HEADER_SIZE)
  setChecksum(header, 7, header.length)
  table.set([
    ...ascii('_MP_'),
    ...le32(address + FLOATING_POINTER_SIZE),
    1, // in units of 16 bytes
    4, // specification 1.4
  ])
  setChecksum(table, 10, FLOATING_POINTER_SIZE)
  return table
}
