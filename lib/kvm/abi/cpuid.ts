import { type StructOf, struct, u32 } from '../../util/struct.js'

/** One CPUID leaf as a plain object: what the CPUID methods take and return. */
export interface CpuidEntry {
  /** EAX on entry. */
  function: number
  /** ECX on entry, where `flags` has KVM_CPUID_FLAG_SIGNIFCANT_INDEX. */
  index: number
  /** KVM_CPUID_FLAG_*. */
  flags: number
  /** What CPUID gives there. */
  eax: number
  /** What CPUID gives there. */
  ebx: number
  /** What CPUID gives there. */
  ecx: number
  /** What CPUID gives there. */
  edx: number
}

/** `struct kvm_cpuid_entry2`. */
export const KvmCpuidEntry2 = struct('kvm_cpuid_entry2', 40, {
  function: u32(0),
  index: u32(4),
  flags: u32(8),
  eax: u32(12),
  ebx: u32(16),
  ecx: u32(20),
  edx: u32(24),
})
/** `struct kvm_cpuid_entry2`. */
export type KvmCpuidEntry2 = StructOf<typeof KvmCpuidEntry2>

/** KVM_SET_CPUID's entries. */
export const KvmCpuidEntry = struct('kvm_cpuid_entry', 24, {
  function: u32(0),
  eax: u32(4),
  ebx: u32(8),
  ecx: u32(12),
  edx: u32(16),
})

/** The header of KVM_*_CPUID2's list. */
export const KvmCpuid2 = struct('kvm_cpuid2', 8, { nent: u32(0) })

/** The kernel's spelling. */
export const KVM_CPUID_FLAG_SIGNIFCANT_INDEX = 1
export const KVM_CPUID_FLAG_STATEFUL_FUNC = 2
export const KVM_CPUID_FLAG_STATE_READ_NEXT = 4

/** The most entries that KVM_SET_CPUID2 takes. */
export const KVM_MAX_CPUID_ENTRIES = 256
