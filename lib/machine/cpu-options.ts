import { apicId, type CpuTopology, flatTopology } from '../arch/x86-64/cpu-topology.js'
import { invalidOption } from '../errors.js'
import * as check from './option-checks.js'

/** How a machine's vCPUs look to its guest; the product is their number. */
export interface TopologyOptions {
  /** From 1 to 4096. 1 unless told. */
  sockets?: number
  /** Cores of each socket, from 1 to 4096. As many as `cpus` leaves unless told. */
  cores?: number
  /** Threads of each core, from 1 to 4096. 1 unless told. */
  threads?: number
}

const count = check.integer(1, 4096)

export const checkTopology = check.object({
  sockets: check.withDefault(count, 1),
  cores: check.optional(count),
  threads: check.withDefault(count, 1),
})

/**
 * The number of vCPUs and their arrangement, either of which tells the other.
 * @throws VmmError `ERR_INVALID_OPTION` if they contradict each other
 */
export function arrangeCpus(
  cpus: number | undefined,
  topology: ReturnType<typeof checkTopology> | undefined,
): { cpus: number; topology: CpuTopology } {
  if (topology === undefined) return { cpus: cpus ?? 1, topology: flatTopology(cpus ?? 1) }
  const { sockets, threads } = topology
  const others = sockets * threads
  const cores = topology.cores ?? Math.max(1, Math.floor((cpus ?? others) / others))
  const product = others * cores
  if (cpus !== undefined && product !== cpus) {
    throw invalidOption(
      'topology',
      { sockets, cores, threads },
      `sockets × cores × threads to be cpus, which is ${cpus}; it is ${product}`,
    )
  }
  return { cpus: product, topology: { sockets, cores, threads } }
}

/** The local APIC ids of a machine's vCPUs, in order; KVM_CREATE_VCPU takes them as ids. */
export function apicIds(cpus: number, topology: CpuTopology): number[] {
  return Array.from({ length: cpus }, (_, vcpu) => apicId(vcpu, topology))
}
