import type { MsrEntry } from '../../kvm/abi/msrs.js'

export const MSR_IA32_TSC = 0x10
export const MSR_IA32_MISC_ENABLE = 0x1a0
export const MSR_IA32_MTRR_DEF_TYPE = 0x2ff

const MISC_ENABLE_FAST_STRING = 1n << 0n
const MTRR_ENABLE = 1n << 11n
const MTRR_TYPE_WRITE_BACK = 6n

/**
 * MSRs as firmware leaves them: fast strings, and all memory write-back, since no MTRR says otherwise. Without the latter
 * Linux takes MTRRs to be off and goes without PAT.
 */
export function bootMsrs(): MsrEntry[] {
  return [
    { index: MSR_IA32_MISC_ENABLE, data: MISC_ENABLE_FAST_STRING },
    { index: MSR_IA32_MTRR_DEF_TYPE, data: MTRR_ENABLE | MTRR_TYPE_WRITE_BACK },
  ]
}

// Local APIC registers (Intel SDM vol. 3, table 11-1).
export const APIC_LVT_LINT0 = 0x350
export const APIC_LVT_LINT1 = 0x360
const DELIVERY_MODE = 0x700
const DELIVERY_NMI = 0x400
const DELIVERY_EXTINT = 0x700

/**
 * Sets LINT0 to the PIC and LINT1 to NMI, as firmware does.
 * @param lapic the local APIC's register page, as KVM_GET_LAPIC gives it; changed in place
 */
export function setLocalInterrupts(lapic: Uint8Array): void {
  const registers = new DataView(lapic.buffer, lapic.byteOffset, lapic.byteLength)
  for (const [offset, mode] of [
    [APIC_LVT_LINT0, DELIVERY_EXTINT],
    [APIC_LVT_LINT1, DELIVERY_NMI],
  ] as const) {
    registers.setUint32(offset, (registers.getUint32(offset, true) & ~DELIVERY_MODE) | mode, true)
  }
}
