#pragma once

#include <cstddef>
#include <cstdint>

#include "kvm_compat.h"

namespace node_kvm {

// The kinds of descriptor that an ioctl applies to.
enum FdKind : uint8_t { kSystem = 1, kVm = 2, kVcpu = 4, kDevice = 8 };

// What the third argument of an ioctl is. `size` is what the kernel reads or writes there at the
// least.
struct IoctlArgument {
  enum Kind : uint8_t {
    kNone,    // 0
    kValue,   // a number
    kStruct,  // `size` bytes
    kList,   // `size` bytes of header, then as many `entry_size` bytes as the u32 at `count_offset`
             // says
    kSized,  // at least `size` bytes, as many as the count at `count_offset` says in all
    kXsave,  // the vCPU's XSAVE area, whose size depends on the features it may use
    kNamed,  // carries a pointer, or returns a descriptor: has a method of its own, never ioctl()
  } kind;
  uint32_t size = 0;
  uint32_t count_offset = 0;
  uint32_t count_size = 0;  // 4 or 8 bytes
  uint32_t entry_size = 0;
  // A value of the first u16 for which the struct holds a host address: refused. 0 for none.
  uint16_t refused_type = 0;
};

struct IoctlEntry {
  const char* name;
  uint32_t request;
  uint8_t fds;
  IoctlArgument argument;
};

// One line per ioctl: the allow-list, the source of the request numbers and a compile-time check of
// the names. A plain-data ioctl is added by one line here, a layout in lib/kvm/abi/ and a method in
// lib/kvm/. X(name, descriptors, argument), where the argument is one of
//   None  Value  Struct  StructOf(type)  StructExcept(first u16)  List(struct, count, entries)
//   Sized(struct, count) Xsave  Named
// clang-format off
#define NODE_KVM_IOCTLS(X)                                                                            \
  /* system */                                                                                        \
  X(KVM_GET_API_VERSION, kSystem, None)                                                               \
  X(KVM_CREATE_VM, kSystem, Named)                                                                    \
  X(KVM_GET_VCPU_MMAP_SIZE, kSystem, None)                                                            \
  X(KVM_GET_MSR_INDEX_LIST, kSystem, List(kvm_msr_list, nmsrs, indices))                              \
  X(KVM_GET_MSR_FEATURE_INDEX_LIST, kSystem, List(kvm_msr_list, nmsrs, indices))                      \
  X(KVM_GET_SUPPORTED_CPUID, kSystem, List(kvm_cpuid2, nent, entries))                                \
  X(KVM_GET_EMULATED_CPUID, kSystem, List(kvm_cpuid2, nent, entries))                                 \
  X(KVM_X86_GET_MCE_CAP_SUPPORTED, kSystem, Struct)                                                   \
  /* several kinds */                                                                                 \
  X(KVM_CHECK_EXTENSION, kSystem | kVm, Value)                                                        \
  X(KVM_ENABLE_CAP, kVm | kVcpu, Struct)                                                              \
  X(KVM_GET_MSRS, kSystem | kVcpu, List(kvm_msrs, nmsrs, entries))                                    \
  X(KVM_GET_SUPPORTED_HV_CPUID, kSystem | kVcpu, List(kvm_cpuid2, nent, entries))                     \
  X(KVM_GET_TSC_KHZ, kVm | kVcpu, None)                                                               \
  X(KVM_SET_TSC_KHZ, kVm | kVcpu, Value)                                                              \
  X(KVM_GET_STATS_FD, kVm | kVcpu, Named)                                                             \
  X(KVM_GET_DEVICE_ATTR, kSystem | kVm | kVcpu | kDevice, Named)                                      \
  X(KVM_HAS_DEVICE_ATTR, kSystem | kVm | kVcpu | kDevice, Named)                                      \
  X(KVM_SET_DEVICE_ATTR, kVm | kVcpu | kDevice, Named)                                                \
  /* VM */                                                                                            \
  X(KVM_CREATE_VCPU, kVm, Named)                                                                      \
  X(KVM_CREATE_DEVICE, kVm, Named)                                                                    \
  X(KVM_CREATE_GUEST_MEMFD, kVm, Named)                                                               \
  X(KVM_SET_USER_MEMORY_REGION, kVm, Named)                                                           \
  X(KVM_SET_USER_MEMORY_REGION2, kVm, Named)                                                          \
  X(KVM_GET_DIRTY_LOG, kVm, Named)                                                                    \
  X(KVM_CLEAR_DIRTY_LOG, kVm, Named)                                                                  \
  X(KVM_RESET_DIRTY_RINGS, kVm, None)                                                                 \
  X(KVM_SET_MEMORY_ATTRIBUTES, kVm, Struct)                                                           \
  X(KVM_SET_NR_MMU_PAGES, kVm, Value)                                                                 \
  X(KVM_GET_NR_MMU_PAGES, kVm, None)                                                                  \
  X(KVM_SET_TSS_ADDR, kVm, Value)                                                                     \
  X(KVM_SET_IDENTITY_MAP_ADDR, kVm, Struct)                                                           \
  X(KVM_SET_BOOT_CPU_ID, kVm, Value)                                                                  \
  X(KVM_CREATE_IRQCHIP, kVm, None)                                                                    \
  X(KVM_GET_IRQCHIP, kVm, Struct)                                                                     \
  X(KVM_SET_IRQCHIP, kVm, Struct)                                                                     \
  X(KVM_IRQ_LINE, kVm, Struct)                                                                        \
  X(KVM_IRQ_LINE_STATUS, kVm, Struct)                                                                 \
  X(KVM_SET_GSI_ROUTING, kVm, List(kvm_irq_routing, nr, entries))                                     \
  X(KVM_SIGNAL_MSI, kVm, Struct)                                                                      \
  X(KVM_IRQFD, kVm, Named)                                                                            \
  X(KVM_IOEVENTFD, kVm, Named)                                                                        \
  X(KVM_CREATE_PIT, kVm, None)                                                                        \
  X(KVM_CREATE_PIT2, kVm, Struct)                                                                     \
  X(KVM_GET_PIT, kVm, Struct)                                                                         \
  X(KVM_SET_PIT, kVm, Struct)                                                                         \
  X(KVM_GET_PIT2, kVm, Struct)                                                                        \
  X(KVM_SET_PIT2, kVm, Struct)                                                                        \
  /* An _IO() that nevertheless takes a pointer. */                                                   \
  X(KVM_REINJECT_CONTROL, kVm, StructOf(kvm_reinject_control))                                        \
  X(KVM_REGISTER_COALESCED_MMIO, kVm, Struct)                                                         \
  X(KVM_UNREGISTER_COALESCED_MMIO, kVm, Struct)                                                       \
  X(KVM_GET_CLOCK, kVm, Struct)                                                                       \
  X(KVM_SET_CLOCK, kVm, Struct)                                                                       \
  X(KVM_X86_SET_MSR_FILTER, kVm, Named)                                                               \
  X(KVM_SET_PMU_EVENT_FILTER, kVm, List(kvm_pmu_event_filter, nevents, events))                       \
  X(KVM_MEMORY_ENCRYPT_OP, kVm | kVcpu, Named)                                                        \
  X(KVM_MEMORY_ENCRYPT_REG_REGION, kVm, Named)                                                        \
  X(KVM_MEMORY_ENCRYPT_UNREG_REGION, kVm, Named)                                                      \
  X(KVM_HYPERV_EVENTFD, kVm, Named)                                                                   \
  X(KVM_XEN_HVM_CONFIG, kVm, Named)                                                                   \
  X(KVM_XEN_HVM_GET_ATTR, kVm, Struct)                                                                \
  X(KVM_XEN_HVM_SET_ATTR, kVm, StructExcept(KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA))                       \
  X(KVM_XEN_HVM_EVTCHN_SEND, kVm, Struct)                                                             \
  /* vCPU */                                                                                          \
  X(KVM_RUN, kVcpu, Named)                                                                            \
  X(KVM_GET_REGS, kVcpu, Struct)                                                                      \
  X(KVM_SET_REGS, kVcpu, Struct)                                                                      \
  X(KVM_GET_SREGS, kVcpu, Struct)                                                                     \
  X(KVM_SET_SREGS, kVcpu, Struct)                                                                     \
  X(KVM_GET_SREGS2, kVcpu, Struct)                                                                    \
  X(KVM_SET_SREGS2, kVcpu, Struct)                                                                    \
  X(KVM_GET_FPU, kVcpu, Struct)                                                                       \
  X(KVM_SET_FPU, kVcpu, Struct)                                                                       \
  X(KVM_GET_XSAVE, kVcpu, Struct)                                                                     \
  X(KVM_GET_XSAVE2, kVcpu, Xsave)                                                                     \
  X(KVM_SET_XSAVE, kVcpu, Xsave)                                                                      \
  X(KVM_GET_XCRS, kVcpu, Struct)                                                                      \
  X(KVM_SET_XCRS, kVcpu, Struct)                                                                      \
  X(KVM_GET_DEBUGREGS, kVcpu, Struct)                                                                 \
  X(KVM_SET_DEBUGREGS, kVcpu, Struct)                                                                 \
  X(KVM_SET_MSRS, kVcpu, List(kvm_msrs, nmsrs, entries))                                              \
  X(KVM_SET_CPUID, kVcpu, List(kvm_cpuid, nent, entries))                                             \
  X(KVM_SET_CPUID2, kVcpu, List(kvm_cpuid2, nent, entries))                                           \
  X(KVM_GET_CPUID2, kVcpu, List(kvm_cpuid2, nent, entries))                                           \
  X(KVM_GET_LAPIC, kVcpu, Struct)                                                                     \
  X(KVM_SET_LAPIC, kVcpu, Struct)                                                                     \
  X(KVM_GET_MP_STATE, kVcpu, Struct)                                                                  \
  X(KVM_SET_MP_STATE, kVcpu, Struct)                                                                  \
  X(KVM_GET_VCPU_EVENTS, kVcpu, Struct)                                                               \
  X(KVM_SET_VCPU_EVENTS, kVcpu, Struct)                                                               \
  X(KVM_INTERRUPT, kVcpu, Struct)                                                                     \
  X(KVM_NMI, kVcpu, None)                                                                             \
  X(KVM_SMI, kVcpu, None)                                                                             \
  X(KVM_KVMCLOCK_CTRL, kVcpu, None)                                                                   \
  X(KVM_TRANSLATE, kVcpu, Struct)                                                                     \
  X(KVM_SET_GUEST_DEBUG, kVcpu, Struct)                                                               \
  X(KVM_SET_SIGNAL_MASK, kVcpu, Named)                                                                \
  X(KVM_GET_NESTED_STATE, kVcpu, Sized(kvm_nested_state, size))                                       \
  X(KVM_SET_NESTED_STATE, kVcpu, Sized(kvm_nested_state, size))                                       \
  X(KVM_X86_SETUP_MCE, kVcpu, Struct)                                                                 \
  X(KVM_X86_SET_MCE, kVcpu, Struct)                                                                   \
  X(KVM_TPR_ACCESS_REPORTING, kVcpu, Struct)                                                          \
  X(KVM_SET_VAPIC_ADDR, kVcpu, Struct)                                                                \
  X(KVM_XEN_VCPU_GET_ATTR, kVcpu, Struct)                                                             \
  X(KVM_XEN_VCPU_SET_ATTR, kVcpu, StructExcept(KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA))                 \
  X(KVM_PRE_FAULT_MEMORY, kVcpu, Struct)                                                              \
  X(KVM_GET_ONE_REG, kVcpu, Named)                                                                    \
  X(KVM_SET_ONE_REG, kVcpu, Named)                                                                    \
  X(KVM_GET_REG_LIST, kVcpu, List(kvm_reg_list, n, reg))
// clang-format on

namespace internal {

// The arguments by the names that the table uses, for an ioctl whose number encodes `kSize`.
template <uint32_t kSize>
struct Argument {
  static constexpr IoctlArgument None = {IoctlArgument::kNone};
  static constexpr IoctlArgument Value = {IoctlArgument::kValue};
  static constexpr IoctlArgument Struct = {IoctlArgument::kStruct, kSize};
  static constexpr IoctlArgument Xsave = {IoctlArgument::kXsave, kSize};
  static constexpr IoctlArgument Named = {IoctlArgument::kNamed, kSize};
  static constexpr IoctlArgument StructExcept(uint16_t type) {
    return {IoctlArgument::kStruct, kSize, 0, 0, 0, type};
  }
  static constexpr IoctlArgument StructOfSize(uint32_t size) {
    return {IoctlArgument::kStruct, size};
  }
  static constexpr IoctlArgument ListOf(uint32_t header, uint32_t count_offset, uint32_t count_size,
                                        uint32_t entry) {
    return {IoctlArgument::kList, header, count_offset, count_size, entry};
  }
  static constexpr IoctlArgument SizedBy(uint32_t minimum, uint32_t count_offset) {
    return {IoctlArgument::kSized, minimum, count_offset, sizeof(uint32_t)};
  }
};

}  // namespace internal

#define StructOf(type) StructOfSize(sizeof(type))
#define List(type, count, entries)                                                        \
  ListOf(sizeof(type), offsetof(type, count), sizeof(static_cast<type*>(nullptr)->count), \
         sizeof(static_cast<type*>(nullptr)->entries[0]))
#define Sized(type, count) SizedBy(sizeof(type), offsetof(type, count))
#define NODE_KVM_ENTRY(name, fds, argument) \
  {#name, name, fds, internal::Argument<_IOC_SIZE(name)>::argument},
inline constexpr IoctlEntry kIoctlTable[] = {NODE_KVM_IOCTLS(NODE_KVM_ENTRY)};
#undef NODE_KVM_ENTRY
#undef Sized
#undef List
#undef StructOf

}  // namespace node_kvm
