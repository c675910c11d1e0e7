import { totalmem } from 'node:os'
import { formatByteSize } from '../util/byte-size.js'
import * as check from './option-checks.js'

/** A guest's memory, and what of the host's is behind it. */
export interface MemoryOptions {
  /** Bytes, or text such as `'256M'`: as the option `memory` by itself. */
  size: number | string
  /**
   * - `'anonymous'`: private to this process, with transparent huge pages where the host has them on. The default.
   * - `'memfd'`: shared memory behind a descriptor, which other processes can map.
   * - `'hugetlb-2M'`, `'hugetlb-1G'`: huge pages that the host has reserved. The last of each region is taken whole.
   */
  kind?: MemoryKind
  /** Take all of it from the host before the guest runs, rather than as it is touched. `false` unless told. */
  prefault?: boolean
  /** Let the kernel merge pages that are alike with those of other guests (KSM). `false` unless told. */
  mergeable?: boolean
  /** Keep it from being swapped out. `false` unless told. */
  locked?: boolean
  /** From which of the host's NUMA nodes it comes. */
  numa?: HostNodesOptions
}

/** NUMA nodes of the host, and how memory is taken from them. */
export interface HostNodesOptions {
  /** Their numbers, from 0 to 1023. */
  nodes: readonly number[]
  /** From these alone, from them if they have any, or from each in turn. `'bind'` unless told. */
  policy?: 'bind' | 'preferred' | 'interleave'
}

/** A {@link HostNodesOptions}, checked and completed. */
export interface HostNodes {
  /** Their numbers. */
  readonly nodes: readonly number[]
  /** How memory is taken from them. */
  readonly policy: 'bind' | 'preferred' | 'interleave'
}

/** What backs a guest's memory. */
export type MemoryKind = 'anonymous' | 'memfd' | 'hugetlb-2M' | 'hugetlb-1G'

/** {@link MemoryOptions} without the size, checked and completed. */
export interface MemoryBacking {
  /** Where it comes from. */
  readonly kind: MemoryKind
  /** Whether it was taken before the guest ran. */
  readonly prefault: boolean
  /** Whether the kernel may merge its pages with others (KSM). */
  readonly mergeable: boolean
  /** Whether it is kept from being swapped out. */
  readonly locked: boolean
  /** The host's nodes that it comes from, if that was told. */
  readonly numa: HostNodes | undefined
  /** Descriptors of memory that another process has made, for each range. */
  readonly fds?: readonly number[]
}

export const MEMORY_MIN = 16 * 2 ** 20

const expected = () =>
  `a multiple of 4096 bytes from ${formatByteSize(MEMORY_MIN)} to the host's ${formatByteSize(totalmem())}, such as '256M'`

const size = check.byteSize(
  expected,
  (bytes) => bytes % 4096 === 0 && bytes >= MEMORY_MIN && bytes <= totalmem(),
)

const NODE_MAX = 1023

const nodes: check.Check<readonly number[]> = (given, name) => {
  const list = check.list('an array of NUMA nodes', check.integer(0, NODE_MAX))(given, name)
  return check.value<readonly number[]>('at least one NUMA node', () => list.length > 0)(list, name)
}

export const checkHostNodes: check.Check<HostNodes> = check.object({
  nodes,
  policy: check.withDefault(check.oneOf('bind', 'preferred', 'interleave'), 'bind'),
})

const shape = check.object({
  size,
  kind: check.withDefault(
    check.oneOf('anonymous', 'memfd', 'hugetlb-2M', 'hugetlb-1G'),
    'anonymous',
  ),
  prefault: check.withDefault(check.boolean, false),
  mergeable: check.withDefault(check.boolean, false),
  locked: check.withDefault(check.boolean, false),
  numa: check.optional(checkHostNodes),
})

/** A size alone, or with what is behind it. */
export const checkMemory: check.Check<MemoryBacking & { readonly size: number }> = (
  given,
  name,
) => {
  if (typeof given !== 'object' || given === null) {
    return shape({ size: size(given, name) }, name)
  }
  const memory = shape(given, name)
  if (memory.mergeable && memory.kind !== 'anonymous') {
    // KSM looks at private pages of the usual size.
    check.value("false, as the kind is not 'anonymous'", () => false)(true, `${name}.mergeable`)
  }
  return memory
}
