import { littleEndian } from '../../../util/bits.js'
import type { Aml } from './aml.js'
import { systemTable } from './sdt.js'

// System Resource Affinity Table (ACPI 6.5, section 5.2.16)
const PROCESSOR_LOCAL_APIC = 0
const MEMORY = 1
const PROCESSOR_LOCAL_X2APIC = 2
const ENABLED = 1
const HOT_PLUGGABLE = 2
/** From this id on it is an x2APIC's. */
const X2APIC_ID = 0xff

/** Which processors and which memory belong together: a node is an ACPI proximity domain, from 0 on. */
export interface AffinityOptions {
  readonly cpus: readonly { readonly apicId: number; readonly node: number }[]
  readonly memory: readonly {
    readonly node: number
    readonly guestAddress: number
    readonly size: number
    /** The guest has it only when it is plugged in. */
    readonly hotPluggable?: boolean
  }[]
  /** From each node to each; none unless told. */
  readonly distances?: readonly (readonly number[])[] | undefined
}

export function buildSrat({ cpus, memory }: AffinityOptions): Uint8Array {
  return systemTable(
    'SRAT',
    3,
    [
      [...littleEndian(1, 4), ...littleEndian(0, 8)],
      ...cpus.map(({ apicId, node }) => processor(apicId, node)),
      ...memory.map(({ node, guestAddress, size, hotPluggable }) => [
        ...[MEMORY, 40],
        ...littleEndian(node, 4),
        ...littleEndian(0, 2),
        ...littleEndian(guestAddress, 8),
        ...littleEndian(size, 8),
        ...littleEndian(0, 4),
        ...littleEndian(ENABLED | (hotPluggable ? HOT_PLUGGABLE : 0), 4),
        ...littleEndian(0, 8),
      ]),
    ].flat(),
  )
}

function processor(apicId: number, node: number): Aml {
  const clockDomain = littleEndian(0, 4)
  if (apicId < X2APIC_ID) {
    const [low, ...high] = littleEndian(node, 4)
    const localSapicEid = 0
    return [
      ...[PROCESSOR_LOCAL_APIC, 16, low!, apicId],
      ...littleEndian(ENABLED, 4),
      ...[localSapicEid, ...high],
      ...clockDomain,
    ]
  }
  return [
    ...[PROCESSOR_LOCAL_X2APIC, 24, 0, 0],
    ...littleEndian(node, 4),
    ...littleEndian(apicId, 4),
    ...littleEndian(ENABLED, 4),
    ...clockDomain,
    ...littleEndian(0, 4),
  ]
}

/** System Locality Information Table (ACPI 6.5, section 5.2.17). */
export function buildSlit(distances: readonly (readonly number[])[]): Uint8Array {
  return systemTable('SLIT', 1, [...littleEndian(distances.length, 8), ...distances.flat()])
}
