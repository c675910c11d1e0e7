/**
 * The KVM API, faithfully: one class for each kind of descriptor, methods named after the ioctls, the kernel's own
 * names for constants and for the fields of structs. Enough to write a virtual machine monitor of one's own.
 * @module node-kvm/kvm
 */
export type { MappingOptions } from './binding.js'
export { type ErrorCode, errorCodes, KvmError, VmmError } from './errors.js'
export * from './kvm/abi/capabilities.js'
export * from './kvm/abi/cpuid.js'
export * from './kvm/abi/exits.js'
export * from './kvm/abi/hyperv-xen.js'
export * from './kvm/abi/interrupts.js'
export * from './kvm/abi/ioctls.js'
export * from './kvm/abi/memory.js'
export * from './kvm/abi/memory-encryption.js'
export * from './kvm/abi/msrs.js'
export * from './kvm/abi/pit.js'
export * from './kvm/abi/registers.js'
export * from './kvm/abi/run.js'
export * from './kvm/abi/stats.js'
export * from './kvm/abi/vcpu-state.js'
export * from './kvm/abi/vm.js'
export { CoalescedRing, type CoalescedWrite } from './kvm/coalesced-ring.js'
export { DeviceFd } from './kvm/device-fd.js'
export { type DirtyPage, DirtyRing } from './kvm/dirty-ring.js'
export { EventFd } from './kvm/event-fd.js'
export type * from './kvm/exit.js'
export { Kvm } from './kvm/kvm.js'
export { RunPage } from './kvm/run-page.js'
export { type Stat, StatsFd } from './kvm/stats-fd.js'
export { VcpuFd } from './kvm/vcpu-fd.js'
export {
  type IoeventfdOptions,
  type MsrFilterRange,
  type PmuEventFilter,
  type UserMemoryRegion,
  type UserMemoryRegion2,
  VmFd,
} from './kvm/vm-fd.js'
export { GuestMemfd } from './kvm/vm-memory.js'
export * from './memory/guest-memory.js'
export * from './memory/guest-region.js'
export * from './memory/mapping.js'
