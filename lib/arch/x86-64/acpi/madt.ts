import { littleEndian } from '../../../util/bits.js'
import type { Aml } from './aml.js'
import { systemTable } from './sdt.js'

// Multiple APIC Description Table (ACPI 6.5, section 5.2.12). Polarity and trigger modes: table 5.26.
const PCAT_COMPAT = 1
const ENABLED = 1
const ACTIVE_HIGH = 1
const LEVEL_TRIGGERED = 3 << 2
const ALL_PROCESSORS = 0xff
const ALL_PROCESSORS_X2 = 0xffff_ffff
const LINT1 = 1

export interface MadtOptions {
  readonly localApicAddress: number
  /** In order of their `_UID`s, which are their indices. */
  readonly cpus: readonly { readonly apicId: number }[]
  readonly ioapic: { readonly id: number; readonly address: number; readonly gsiBase: number }
  /** The system control interrupt: unlike ISA's other interrupts it is a level. */
  readonly sciGsi: number
  /** Whether there are two 8259 PICs as well; there are unless told. */
  readonly pics?: boolean | undefined
}

/** Local APICs, the IOAPIC, and that NMIs come by LINT1. ISA's interrupts are the IOAPIC pins of the same numbers. */
export function buildMadt({
  localApicAddress,
  cpus,
  ioapic,
  sciGsi,
  pics = true,
}: MadtOptions): Uint8Array {
  const usesX2 = cpus.some(({ apicId }) => apicId >= ALL_PROCESSORS)
  return systemTable(
    'APIC',
    5,
    [
      littleEndian(localApicAddress, 4),
      littleEndian(pics ? PCAT_COMPAT : 0, 4),
      ...cpus.map(({ apicId }, uid) => processor(apicId, uid)),
      [1, 12, ioapic.id, 0, ...littleEndian(ioapic.address, 4), ...littleEndian(ioapic.gsiBase, 4)],
      sourceOverride(sciGsi, ACTIVE_HIGH | LEVEL_TRIGGERED),
      [4, 6, ALL_PROCESSORS, ...littleEndian(0, 2), LINT1],
      ...(usesX2 ? [localX2ApicNmi()] : []),
    ].flat(),
  )
}

/** A Processor Local APIC, or from id 255 on a Processor Local x2APIC. */
function processor(apicId: number, uid: number): Aml {
  if (apicId < ALL_PROCESSORS && uid < ALL_PROCESSORS) {
    return [0, 8, uid, apicId, ...littleEndian(ENABLED, 4)]
  }
  return [
    ...[9, 16, 0, 0],
    ...littleEndian(apicId, 4),
    ...littleEndian(ENABLED, 4),
    ...littleEndian(uid, 4),
  ]
}

function sourceOverride(irq: number, flags: number): Aml {
  const isa = 0
  return [2, 10, isa, irq, ...littleEndian(irq, 4), ...littleEndian(flags, 2)]
}

function localX2ApicNmi(): Aml {
  return [10, 12, ...littleEndian(0, 2), ...littleEndian(ALL_PROCESSORS_X2, 4), LINT1, 0, 0, 0]
}
