import { le16, le32 } from '../../../util/bits.js'
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
      le32(localApicAddress),
      le32(pics ? PCAT_COMPAT : 0),
      ...cpus.map(({ apicId }, uid) => processor(apicId, uid)),
      [1, 12, ioapic.id, 0, ...le32(ioapic.address), ...le32(ioapic.gsiBase)],
      sourceOverride(sciGsi, ACTIVE_HIGH | LEVEL_TRIGGERED),
      [4, 6, ALL_PROCESSORS, ...le16(0), LINT1],
      ...(usesX2 ? [localX2ApicNmi()] : []),
    ].flat(),
  )
}

/** A Processor Local APIC, or from id 255 on a Processor Local x2APIC. */
function processor(apicId: number, uid: number): Aml {
  if (apicId < ALL_PROCESSORS && uid < ALL_PROCESSORS) {
    return [0, 8, uid, apicId, ...le32(ENABLED)]
  }
  return [...[9, 16, 0, 0], ...le32(apicId), ...le32(ENABLED), ...le32(uid)]
}

function sourceOverride(irq: number, flags: number): Aml {
  const isa = 0
  return [2, 10, isa, irq, ...le32(irq), ...le16(flags)]
}

function localX2ApicNmi(): Aml {
  return [10, 12, ...le16(0), ...le32(ALL_PROCESSORS_X2), LINT1, 0, 0, 0]
}
