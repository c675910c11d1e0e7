import { type StructOf, struct, u32, u64 } from '../../util/struct.js'

/** `struct kvm_msr_entry`. */
export const KvmMsrEntry = struct('kvm_msr_entry', 16, { index: u32(0), data: u64(8) })
/** `struct kvm_msr_entry`. */
export type KvmMsrEntry = StructOf<typeof KvmMsrEntry>

/** The header of KVM_GET_MSRS' and KVM_SET_MSRS' list. */
export const KvmMsrs = struct('kvm_msrs', 8, { nmsrs: u32(0) })

/** One MSR as a plain object. */
export interface MsrEntry {
  /** Which MSR. */
  index: number
  /** Its value. */
  data: bigint
}

/** The most entries that KVM_GET_MSRS and KVM_SET_MSRS take (MAX_IO_MSRS). */
export const KVM_MAX_IO_MSRS = 256

/** KVM_X86_SET_MSR_FILTER. */
export const KVM_MSR_FILTER_MAX_RANGES = 16
export const KVM_MSR_FILTER_MAX_BITMAP_SIZE = 0x600
export const KVM_MSR_FILTER_READ = 1
export const KVM_MSR_FILTER_WRITE = 2
export const KVM_MSR_FILTER_DEFAULT_ALLOW = 0
export const KVM_MSR_FILTER_DEFAULT_DENY = 1

/** KVM_CAP_X86_USER_SPACE_MSR's argument, and the reason that an exit gives. */
export const KVM_MSR_EXIT_REASON_INVAL = 1
export const KVM_MSR_EXIT_REASON_UNKNOWN = 2
export const KVM_MSR_EXIT_REASON_FILTER = 4
