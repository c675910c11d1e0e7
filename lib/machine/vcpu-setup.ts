import { type CpuPlace, vcpuCpuid } from '../arch/x86-64/cpuid.js'
import type { EntryState } from '../arch/x86-64/entry-state.js'
import { bootMsrs, setLocalInterrupts } from '../arch/x86-64/msrs.js'
import type { CpuidEntry } from '../kvm/abi/cpuid.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'

/** Bit 1 of RFLAGS is always set. */
const RFLAGS_RESERVED = 2n

/** What a vCPU is before its first instruction: CPUID, MSRs and local APIC. */
export function setUpVcpu(vcpu: VcpuFd, place: CpuPlace, supported: readonly CpuidEntry[]): void {
  vcpu.setCpuid2(vcpuCpuid(supported, place))
  vcpu.setMsrs(bootMsrs())
  const lapic = vcpu.getLapic()
  setLocalInterrupts(lapic)
  vcpu.setLapic(lapic)
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
