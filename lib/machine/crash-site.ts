import { KvmError, VmmError } from '../errors.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import { hex } from '../util/bits.js'

/**
 * A stopped vCPU's instruction pointer and what tells why it could not go on: the stack, the last page fault's address, the paging's
 * registers. Empty where nothing is left of them: an #VMEXIT for a shutdown leaves a VMCB undefined (AMD64 Architecture
 * Programmer's Manual, volume 2, "Shutdown Intercept"), so KVM resets the vCPU. Empty too for a vCPU that KVM does not
 * let be read.
 */
export function crashSite(vcpu: VcpuFd): string {
  try {
    const { rip, rsp } = vcpu.getRegs()
    const { cs, cr0, cr2, cr3, cr4, efer } = vcpu.getSregs()
    if (cs.base + rip === RESET_VECTOR) return ''
    const code = cs.base === 0n ? 'RIP' : `CS base ${hex(cs.base)}, RIP`
    const registers = { RSP: rsp, CR0: cr0, CR2: cr2, CR3: cr3, CR4: cr4, EFER: efer }
    const values = Object.entries(registers).map(([name, value]) => `${name} ${hex(value)}`)
    return `at ${[`${code} ${hex(rip)}`, ...values].join(', ')}`
  } catch (error) {
    if (error instanceof KvmError || error instanceof VmmError) return ''
    throw error
  }
}

/** Where a processor starts after INIT: Intel SDM, volume 3, "First Instruction Executed". */
const RESET_VECTOR = 0xffff_fff0n
