import { apicId } from '../arch/x86-64/cpu-topology.js'
import { hotMemoryRanges } from '../arch/x86-64/layout.js'
import { invalidOption } from '../errors.js'
import type { MachineConfig } from './machine-config.js'

/**
 * Checks the options against what this host's KVM allows.
 * @param maxVcpuId KVM_CAP_MAX_VCPU_ID: ids, which are APIC ids, are below it
 * @throws VmmError `ERR_INVALID_OPTION`
 */
export function checkLimits(config: MachineConfig, maxVcpus: number, maxVcpuId = maxVcpus): void {
  const { cpus, topology } = config
  if (cpus > maxVcpus) {
    const expected = `at most ${maxVcpus}, which is what this host's KVM allows`
    throw invalidOption('cpus', cpus, expected)
  }
  if (apicId(cpus - 1, topology) >= maxVcpuId) {
    const expected = `APIC ids below ${maxVcpuId}, which is what this host's KVM allows`
    throw invalidOption('topology', topology, expected)
  }
}

/**
 * Checks that memory lies where this host's processors reach it.
 * @param bits of a guest-physical address
 * @throws VmmError `ERR_INVALID_OPTION`
 */
export function checkAddressable(
  { memory, virtioMem }: Pick<MachineConfig, 'memory' | 'virtioMem'>,
  bits: number,
): void {
  const last = virtioMem && hotMemoryRanges(memory, virtioMem.maxSize).at(-1)
  if (last === undefined || last.guestAddress + last.size <= 2 ** bits) return
  const expected = `less: this host's processors have ${bits} address bits, and it ends above them`
  throw invalidOption('virtioMem.maxSize', virtioMem?.maxSize, expected)
}
