import { invalidOption } from '../errors.js'
import { formatByteSize } from '../util/byte-size.js'
import { checkHostNodes, type HostNodes, type HostNodesOptions } from './memory-options.js'
import * as check from './option-checks.js'

/** A NUMA node as the guest sees it, by ACPI's SRAT and SLIT. */
export interface NumaNodeOptions {
  /** Its vCPUs, by index: each vCPU of the machine is in one node. None unless told. */
  cpus?: readonly number[]
  /** Its memory, in bytes or as text such as `'1G'`: a multiple of 4096 of at least 4 MiB. Together they are `memory`. */
  memory: number | string
  /**
   * How far each node's memory is from this one's processors: 10 to itself, from 11 to 255 to others, 255 being out of
   * reach (ACPI 6.5, section 5.2.17). 20 to each other unless told.
   */
  distances?: readonly number[]
  /** From which of the host's NUMA nodes its memory comes. */
  host?: HostNodesOptions
}

/** A {@link NumaNodeOptions}, checked and completed. */
export interface NumaNode {
  /** Its vCPUs, by index. */
  readonly cpus: readonly number[]
  /** Bytes. */
  readonly memory: number
  /** To each node, this one included. */
  readonly distances: readonly number[]
  /** Where its memory comes from, if that was told. */
  readonly host: HostNodes | undefined
}

const NODES_MAX = 64
/** Linux passes over nodes with less. */
const NODE_MIN = 4 * 2 ** 20
const LOCAL = 10
const REMOTE = 20

const node = check.object({
  cpus: check.withDefault(check.list('an array of vCPUs', check.integer(0)), []),
  memory: check.byteSize(
    () => `a multiple of 4096 bytes of at least ${formatByteSize(NODE_MIN)}`,
    (bytes) => bytes % 4096 === 0 && bytes >= NODE_MIN,
  ),
  distances: check.optional(check.list('an array of distances', check.integer(LOCAL, 255))),
  host: check.optional(checkHostNodes),
})

export const checkNuma: check.Check<readonly NumaNode[]> = (given, name) => {
  const nodes = check.list('an array of NUMA nodes', node)(given, name)
  if (nodes.length === 0 || nodes.length > NODES_MAX) {
    throw invalidOption(name, given, `from 1 to ${NODES_MAX} nodes`)
  }
  return nodes.map(({ distances, ...rest }, from) => {
    const all = distances ?? nodes.map((_, to) => (to === from ? LOCAL : REMOTE))
    const fits = (distance: number, to: number) => (distance === LOCAL) === (to === from)
    if (all.length !== nodes.length || !all.every(fits)) {
      const expected = `${nodes.length} distances: ${LOCAL} to the node itself, more to others`
      throw invalidOption(`${name}[${from}].distances`, distances, expected)
    }
    return { ...rest, distances: all }
  })
}

/**
 * Checks the nodes against the machine that they are of.
 * @throws VmmError `ERR_INVALID_OPTION` if they have another sum of memory, or not each vCPU once
 */
export function checkNodesFit(
  nodes: readonly NumaNode[],
  { cpus, memory }: { cpus: number; memory: number },
): void {
  const sum = nodes.reduce((bytes, node) => bytes + node.memory, 0)
  if (sum !== memory) {
    const expected = `nodes whose memory is together ${memory} bytes, as memory says; it is ${sum}`
    throw invalidOption('numa', nodes, expected)
  }
  const seen = new Set<number>()
  for (const [index, { cpus: own }] of nodes.entries()) {
    for (const cpu of own) {
      if (cpu >= cpus || seen.has(cpu)) {
        throw invalidOption(`numa[${index}].cpus`, own, `vCPUs below ${cpus}, each in one node`)
      }
      seen.add(cpu)
    }
  }
  if (seen.size < cpus) {
    const left = Array.from({ length: cpus }, (_, cpu) => cpu).find((cpu) => !seen.has(cpu))
    throw invalidOption('numa', nodes, `each vCPU in one node; vCPU ${left} is in none`)
  }
}

/** A socket for each node, where that can be: processors that share a cache are not of two nodes. */
export function socketsOf(
  nodes: readonly Pick<NumaNode, 'cpus'>[],
  cpus: number | undefined,
): { sockets: number; cores: number; threads: number } | undefined {
  const cores = nodes[0]!.cpus.length
  const inOrder = nodes.every(({ cpus }, node) => {
    return cpus.length === cores && cpus.every((cpu, i) => cpu === node * cores + i)
  })
  const all = cores * nodes.length
  return all > 0 && inOrder && (cpus ?? all) === all
    ? { sockets: nodes.length, cores, threads: 1 }
    : undefined
}

/** A node's share of a range of RAM. */
export interface NodeRange {
  readonly node: number
  readonly guestAddress: number
  readonly size: number
}

/** Which memory each node has: they follow one another in the order of addresses. */
export function nodeRanges(
  ram: readonly { guestAddress: number; size: number }[],
  nodes: readonly Pick<NumaNode, 'memory'>[],
): NodeRange[] {
  const ranges: NodeRange[] = []
  let node = 0
  let left = nodes[0]?.memory ?? 0
  for (const { guestAddress, size } of ram) {
    for (let done = 0; done < size; ) {
      while (left === 0 && node < nodes.length - 1) left = nodes[++node]!.memory
      const part = Math.min(size - done, left || size)
      ranges.push({ node, guestAddress: guestAddress + done, size: part })
      left = Math.max(0, left - part)
      done += part
    }
  }
  return ranges
}
