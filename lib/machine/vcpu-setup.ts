import { modelCpuid } from '../arch/x86-64/cpu-models.js'
import { type CpuPlace, vcpuCpuid } from '../arch/x86-64/cpuid.js'
import type { EntryState } from '../arch/x86-64/entry-state.js'
import { bootMsrs, setLocalInterrupts } from '../arch/x86-64/msrs.js'
import { invalidOption, KvmError } from '../errors.js'
import type { CpuidEntry } from '../kvm/abi/cpuid.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { Cleanup } from '../util/cleanup.js'
import { apicIds } from './cpu-options.js'
import type { MachineConfig } from './machine-config.js'
import type { Platform } from './platform.js'
import type { RunLoop } from './run-loop.js'

/** Bit 1 of RFLAGS is always set. */
const RFLAGS_RESERVED = 2n

/** A machine's vCPUs, as they are before their first instruction. @throws VmmError `ERR_INVALID_OPTION`; KvmError */
export function createVcpus(
  { vm, supportedCpuid }: Platform,
  { cpus, topology, cpu }: MachineConfig,
  cleanup: Cleanup,
): VcpuFd[] {
  const model = modelCpuid(supportedCpuid, cpu)
  return apicIds(cpus, topology).map((id, index) => {
    const vcpu = cleanup.own(vm.createVcpu(id))
    setUpVcpu(vcpu, { vcpu: index, vcpus: cpus, topology }, model)
    return vcpu
  })
}

/**
 * Makes a vCPU what it is before its first instruction: CPUID, of its model, MSRs and local APIC.
 * @param model what the guest is to see of the host's features: `Kvm.getSupportedCpuid()` for all of them
 */
export function setUpVcpu(vcpu: VcpuFd, place: CpuPlace, model: readonly CpuidEntry[]): void {
  vcpu.setCpuid2(vcpuCpuid(model, place))
  vcpu.setMsrs(bootMsrs())
  const lapic = vcpu.getLapic()
  setLocalInterrupts(lapic)
  vcpu.setLapic(lapic)
}

/** @throws VmmError `ERR_INVALID_OPTION` if the host has none of the CPUs, or this process may use none of them */
export function pinVcpu(runLoop: RunLoop, index: number, cpus: readonly number[] = []): void {
  if (cpus.length === 0) return
  try {
    runLoop.setAffinity(index, cpus)
  } catch (error) {
    if (!(error instanceof KvmError)) throw error
    throw invalidOption(`cpuAffinity[${index}]`, cpus, 'host CPUs that this process may use')
  }
}

/** Puts the boot processor where the kernel is to start. The others wait for INIT and SIPI, as KVM has them. */
export function enterAt(vcpu: VcpuFd, entry: EntryState): void {
  const { cs, data, tr, gdt, idt, cr0, cr3, cr4, efer } = entry
  const sregs = vcpu.getSregs()
  for (const segment of ['ds', 'es', 'fs', 'gs', 'ss'] as const) Object.assign(sregs[segment], data)
  Object.assign(sregs.cs, cs)
  Object.assign(sregs.tr, tr)
  Object.assign(sregs.gdt, gdt)
  Object.assign(sregs.idt, idt)
  Object.assign(sregs, { cr0, cr3, cr4, efer })
  vcpu.setSregs(sregs)
  vcpu.setRegs({
    rip: entry.rip,
    rsi: entry.rsi ?? 0n,
    rbx: entry.rbx ?? 0n,
    rax: entry.rax ?? 0n,
    rsp: entry.rsp ?? 0n,
    rflags: RFLAGS_RESERVED,
  })
}
