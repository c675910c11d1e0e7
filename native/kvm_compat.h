#pragma once

// The way to <linux/kvm.h>: include this instead.
#include <linux/stddef.h>
#include <linux/types.h>

// As Linux 6.5 and later define it for C++. Before, an empty struct stood before the array, which
// has a size in C++: so had kvm_cpuid2, and with it the numbers of the ioctls, 4 or 8 bytes more
// than in the kernel.
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(type, name) type name[0]

#include <linux/kvm.h>

static_assert(sizeof(kvm_msr_list) == 4 && sizeof(kvm_msrs) == 8 && sizeof(kvm_cpuid) == 8);
static_assert(sizeof(kvm_cpuid2) == 8 && sizeof(kvm_xsave) == 4096 && sizeof(kvm_reg_list) == 8);
static_assert(sizeof(kvm_irq_routing) == 8 && sizeof(kvm_pmu_event_filter) == 32);
static_assert(sizeof(kvm_nested_state) == 128 && sizeof(kvm_run) == 2352);

// What <linux/kvm.h> may be too old for (Debian 12 has 6.1's). Numbers and layouts as in the
// kernel's ABI; the structs have names of our own, since a macro can be tested for and a struct
// cannot.
namespace node_kvm {

// struct kvm_userspace_memory_region2 (6.8)
struct MemoryRegion2 {
  __u32 slot;
  __u32 flags;
  __u64 guest_phys_addr;
  __u64 memory_size;
  __u64 userspace_addr;
  __u64 guest_memfd_offset;
  __u32 guest_memfd;
  __u32 pad1;
  __u64 pad2[14];
};
static_assert(sizeof(MemoryRegion2) == 160);

// struct kvm_memory_attributes (6.8)
struct MemoryAttributes {
  __u64 address;
  __u64 size;
  __u64 attributes;
  __u64 flags;
};
static_assert(sizeof(MemoryAttributes) == 32);

// struct kvm_create_guest_memfd (6.8)
struct CreateGuestMemfd {
  __u64 size;
  __u64 flags;
  __u64 reserved[6];
};
static_assert(sizeof(CreateGuestMemfd) == 64);

// struct kvm_pre_fault_memory (6.11)
struct PreFaultMemory {
  __u64 gpa;
  __u64 size;
  __u64 flags;
  __u64 padding[5];
};
static_assert(sizeof(PreFaultMemory) == 64);

}  // namespace node_kvm

#ifndef KVM_SET_USER_MEMORY_REGION2
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, ::node_kvm::MemoryRegion2)
#endif
#ifndef KVM_SET_MEMORY_ATTRIBUTES
#define KVM_SET_MEMORY_ATTRIBUTES _IOW(KVMIO, 0xd2, ::node_kvm::MemoryAttributes)
#endif
#ifndef KVM_CREATE_GUEST_MEMFD
#define KVM_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, ::node_kvm::CreateGuestMemfd)
#endif
#ifndef KVM_PRE_FAULT_MEMORY
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, ::node_kvm::PreFaultMemory)
#endif

#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL 223
#endif
#ifndef KVM_CAP_XSAVE2
#define KVM_CAP_XSAVE2 208
#endif
#ifndef KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA
#define KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA 0x6
#endif
#ifndef KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA
#define KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA 0x9
#endif
