import { address64, type StructOf, struct, u32, u64 } from '../../util/struct.js'

/** Flags of a memory slot. */
export const KVM_MEM_LOG_DIRTY_PAGES = 1
export const KVM_MEM_READONLY = 2
export const KVM_MEM_GUEST_MEMFD = 4

/** KVM_SET_MEMORY_ATTRIBUTES. */
export const KvmMemoryAttributes = struct('kvm_memory_attributes', 32, {
  address: address64(0),
  size: address64(8),
  attributes: u64(16),
  flags: u64(24),
})
export type KvmMemoryAttributes = StructOf<typeof KvmMemoryAttributes>
export const KVM_MEMORY_ATTRIBUTE_PRIVATE = 8n

/** KVM_CREATE_GUEST_MEMFD. */
export const GUEST_MEMFD_FLAG_MMAP = 1
export const GUEST_MEMFD_FLAG_INIT_SHARED = 2

/** KVM_PRE_FAULT_MEMORY. The kernel moves `gpa` and `size` on as far as it got. */
export const KvmPreFaultMemory = struct('kvm_pre_fault_memory', 64, {
  gpa: address64(0),
  size: address64(8),
  flags: u64(16),
})
export type KvmPreFaultMemory = StructOf<typeof KvmPreFaultMemory>

/** KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2's argument. */
export const KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE = 1
export const KVM_DIRTY_LOG_INITIALLY_SET = 2

/** One entry of a vCPU's dirty ring. */
export const KvmDirtyGfn = struct('kvm_dirty_gfn', 16, {
  flags: u32(0),
  slot: u32(4),
  offset: address64(8),
})
export type KvmDirtyGfn = StructOf<typeof KvmDirtyGfn>
export const KVM_DIRTY_GFN_F_DIRTY = 1
export const KVM_DIRTY_GFN_F_RESET = 2
export const KVM_DIRTY_GFN_F_MASK = 3
/** Where the dirty ring lies in a vCPU's mapping, in pages. */
export const KVM_DIRTY_LOG_PAGE_OFFSET = 64

/** KVM_REGISTER_COALESCED_MMIO, KVM_UNREGISTER_COALESCED_MMIO. `pio` 1 for ports. */
export const KvmCoalescedMmioZone = struct('kvm_coalesced_mmio_zone', 16, {
  addr: address64(0),
  size: u32(8),
  pio: u32(12),
})
export type KvmCoalescedMmioZone = StructOf<typeof KvmCoalescedMmioZone>
/** The header of the coalesced ring, on the third page of a vCPU's mapping. */
export const KvmCoalescedMmioRing = struct('kvm_coalesced_mmio_ring', 8, {
  first: u32(0),
  last: u32(4),
})
/** `struct kvm_coalesced_mmio`. */
export const KvmCoalescedMmio = struct('kvm_coalesced_mmio', 24, {
  phys_addr: address64(0),
  len: u32(8),
  pio: u32(12),
  data: u64(16),
})
export const KVM_PIO_PAGE_OFFSET = 1
export const KVM_COALESCED_MMIO_PAGE_OFFSET = 2
