/** How a machine's vCPUs are arranged: their number is the product. */
export interface CpuTopology {
  /** Processors in sockets of their own. */
  readonly sockets: number
  /** Cores of each socket. */
  readonly cores: number
  /** Threads of each core. */
  readonly threads: number
}

/** One socket with a core for each vCPU. */
export function flatTopology(vcpus: number): CpuTopology {
  return { sockets: 1, cores: vcpus, threads: 1 }
}

/** Bits that number `count` things: 0 for one, 2 for three or four. */
export function idBits(count: number): number {
  return 32 - Math.clz32(count - 1)
}

/**
 * The local APIC id of a vCPU, counted from 0. It is the number's thread, core and socket, each in bits of its own, so
 * ids have gaps where a count is no power of two (Intel SDM vol. 3, section 9.9.1). KVM_CREATE_VCPU takes it as the id.
 */
export function apicId(vcpu: number, { cores, threads }: CpuTopology): number {
  const thread = vcpu % threads
  const core = Math.floor(vcpu / threads) % cores
  const socket = Math.floor(vcpu / (threads * cores))
  return (((socket << idBits(cores)) | core) << idBits(threads)) | thread
}
