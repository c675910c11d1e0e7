#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "mapped_memory.h"

namespace node_kvm {

// What the kernel's VM uses of this process, for as long as any descriptor keeps that VM alive:
// each open VM, vCPU and device descriptor holds one by shared_ptr. Changed by the VM's JavaScript
// thread only.
struct VmResources {
  struct Slot {
    uint64_t size;
    std::shared_ptr<const MappedMemory> memory;
  };
  // By slot number, the address space in the high 16 bits.
  std::map<uint32_t, Slot> slots;
  // Memory that the kernel was told the address of once and for all.
  std::vector<std::shared_ptr<const void>> pinned;
  // The hypercall pages of KVM_XEN_HVM_CONFIG, for 32-bit and for 64-bit guests.
  std::shared_ptr<const void> xen_blobs[2];
  // Bytes of each vCPU's dirty ring, 0 without.
  uint64_t dirty_ring_size = 0;
};

}  // namespace node_kvm
