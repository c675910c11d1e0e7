import { le16, le32, le64 } from '../../../util/bits.js'
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
      [...le32(1), ...le64(0)],
      ...cpus.map(({ apicId, node }) => processor(apicId, node)),
      ...memory.map(({ node, guestAddress, size, hotPluggable }) => [
        ...[MEMORY, 40],
        ...le32(node),
        ...le16(0),
        ...le64(guestAddress),
        ...le64(size),
        ...le32(0),
        ...le32(ENABLED | (hotPluggable ? HOT_PLUGGABLE : 0)),
        ...le64(0),
      ]),
    ].flat(),
  )
}

function processor(apicId: number, node: number): Aml {
  const clockDomain = le32(0)
  if (apicId < X2APIC_ID) {
    const [low, ...high] = le32(node)
    const localSapicEid = 0
    return [
      ...[PROCESSOR_LOCAL_APIC, 16, low!, apicId],
      ...le32(ENABLED),
      ...[localSapicEid, ...high],
      ...clockDomain,
    ]
  }
  return [
    ...[PROCESSOR_LOCAL_X2APIC, 24, 0, 0],
    ...le32(node),
    ...le32(apicId),
    ...le32(ENABLED),
    ...clockDomain,
    ...le32(0),
  ]
}

/** System Locality Information Table (ACPI 6.5, section 5.2.17). */
export function buildSlit(distances: readonly (readonly number[])[]): Uint8Array {
  return systemTable('SLIT', 1, [...le64(distances.length), ...distances.flat()])
}
