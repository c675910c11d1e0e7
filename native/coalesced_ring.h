#pragma once

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "kvm_compat.h"
#include "vcpu_fd.h"

namespace node_kvm {

// The ring of one VM into which KVM puts the writes to coalesced zones, which make no exit (KVM
// API, 4.116 "KVM_(UN)REGISTER_COALESCED_MMIO"). KVM fills it; any thread may take from it.
class CoalescedRing {
 public:
  // The ring is the same in the mappings of all vCPUs. `vcpu` outlives this.
  void Attach(const Vcpu& vcpu) {
    size_t page_size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    if (vcpu.run_size() / page_size <= KVM_COALESCED_MMIO_PAGE_OFFSET) return;
    uint8_t* page =
        reinterpret_cast<uint8_t*>(vcpu.run()) + KVM_COALESCED_MMIO_PAGE_OFFSET * page_size;
    ring_ = reinterpret_cast<kvm_coalesced_mmio_ring*>(page);
    capacity_ = static_cast<uint32_t>((page_size - sizeof *ring_) / sizeof(kvm_coalesced_mmio));
  }

  // Whether writes lie there that nobody has handed over yet. One that was made before an exit is
  // seen by the thread of that exit.
  bool pending() const { return ring_ && First() != Last(); }

  // How many were handed over.
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }

  // Hands the writes that are there, oldest first, to `hand`, until that returns false: then the
  // write stays, and Drain returns false. A write counts as pending until it was handed over, so
  // a thread that finds none pending comes after whoever had them.
  template <typename Hand>
  bool Drain(Hand hand) {
    std::lock_guard lock(mutex_);
    uint32_t first = First();
    // Not what comes meanwhile: other vCPUs could keep this thread here.
    uint32_t last = Last();
    while (first != last) {
      kvm_coalesced_mmio entry;
      std::memcpy(&entry, &ring_->coalesced_mmio[first], sizeof entry);
      if (!hand(entry)) return false;
      count_.store(count() + 1, std::memory_order_relaxed);
      first = (first + 1) % capacity_;
      std::atomic_ref<uint32_t>(ring_->first).store(first, std::memory_order_release);
    }
    return true;
  }

 private:
  uint32_t First() const {
    return std::atomic_ref<uint32_t>(ring_->first).load(std::memory_order_acquire) % capacity_;
  }
  uint32_t Last() const {
    return std::atomic_ref<uint32_t>(ring_->last).load(std::memory_order_acquire) % capacity_;
  }

  std::mutex mutex_;
  std::atomic<uint64_t> count_{0};
  kvm_coalesced_mmio_ring* ring_ = nullptr;
  uint32_t capacity_ = 1;
};

}  // namespace node_kvm
