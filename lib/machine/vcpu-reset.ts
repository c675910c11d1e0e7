import { MSR_IA32_TSC } from '../arch/x86-64/msrs.js'
import { VmmError } from '../errors.js'
import { KVM_CAP_NESTED_STATE, KVM_CAP_XCRS } from '../kvm/abi/capabilities.js'
import { KVM_MAX_IO_MSRS } from '../kvm/abi/msrs.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { VmFd } from '../kvm/vm-fd.js'

/** Puts a vCPU back into the state that it was in when this was made: before its first instruction. */
export type VcpuReset = () => void

/**
 * Takes down a vCPU's whole state, for a reset of the machine later.
 * @param msrs what KVM_GET_MSR_INDEX_LIST gives
 */
export function vcpuReset(vm: VmFd, vcpu: VcpuFd, msrs: readonly number[]): VcpuReset {
  const hasXcrs = vm.checkExtension(KVM_CAP_XCRS) > 0
  const hasNested = vm.checkExtension(KVM_CAP_NESTED_STATE) > 0
  const sregs = vcpu.getSregs()
  const regs = vcpu.getRegs()
  const xsave = vcpu.getXsave()
  const xcrs = hasXcrs ? vcpu.getXcrs() : undefined
  const debugregs = vcpu.getDebugregs()
  const lapic = vcpu.getLapic()
  const events = vcpu.getVcpuEvents()
  const mpState = vcpu.getMpState()
  const nested = hasNested ? vcpu.getNestedState() : undefined
  const values = readMsrs(vcpu, msrs)
  return () => {
    // A guest that was a hypervisor leaves its own guest first, or its registers are that guest's.
    if (nested) vcpu.setNestedState(nested)
    vcpu.setSregs(sregs)
    vcpu.setRegs(regs)
    if (xcrs) vcpu.setXcrs(xcrs)
    vcpu.setXsave(xsave)
    restoreMsrs(vcpu, values)
    vcpu.setLapic(lapic)
    vcpu.setVcpuEvents(events)
    vcpu.setMpState(mpState)
    vcpu.setDebugregs(debugregs)
  }
}

/** Those of the list that this vCPU has, with their values. */
function readMsrs(vcpu: VcpuFd, msrs: readonly number[]): Map<number, bigint> {
  // Time goes on, or the vCPUs would have to be brought in step again.
  const indices = msrs.filter((index) => index !== MSR_IA32_TSC)
  const values = eachTaken(indices, (some) => vcpu.getMsrs(some))
  return new Map(values)
}

/** Only those that have changed. What changes by itself and takes no value, such as a count of interrupts, is left. */
function restoreMsrs(vcpu: VcpuFd, values: ReadonlyMap<number, bigint>): void {
  const changed = [...readMsrs(vcpu, [...values.keys()])]
    .filter(([index, now]) => now !== values.get(index))
    .map(([index]) => index)
  eachTaken(changed, (some) => {
    vcpu.setMsrs(some.map((index) => ({ index, data: values.get(index)! })))
    return some
  })
}

/** Does as many MSRs at once as KVM takes, and leaves out those that it refuses. */
function eachTaken<T>(
  msrs: readonly number[],
  action: (some: readonly number[]) => readonly T[],
): [index: number, result: T][] {
  const done: [number, T][] = []
  let left = [...msrs]
  while (left.length > 0) {
    const some = left.slice(0, KVM_MAX_IO_MSRS)
    try {
      const results = action(some)
      done.push(...some.map((index, i): [number, T] => [index, results[i]!]))
      left = left.slice(some.length)
    } catch (error) {
      if (!(error instanceof VmmError) || error.code !== 'ERR_KVM_UNSUPPORTED') throw error
      left = left.filter((index) => index !== error.value)
    }
  }
  return done
}
