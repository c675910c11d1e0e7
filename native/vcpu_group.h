#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "coalesced_ring.h"
#include "posted_queue.h"
#include "route_table.h"
#include "support/loop_handle.h"

namespace node_kvm {

// Two threads that write to one line take it from each other each time.
inline constexpr size_t kCacheLine = 64;

// What the vCPU threads of one VM and the JavaScript thread that owns it share.
struct VcpuGroup {
  enum class Want : uint8_t { kPause, kRun, kStop };

  // What is read at each exit and seldom written lies together.
  std::atomic<Want> want{Want::kPause};
  // JavaScript will look at `published` and at the posted writes before it next sleeps: no wake-up
  // is needed.
  std::atomic<bool> js_awake{false};
  // The host CPU that the JavaScript thread was last seen on.
  std::atomic<int> js_cpu{-1};
  // Nanoseconds that either side spins at most before it sleeps.
  std::atomic<int64_t> spin_limit{50'000};
  AsyncHandle wake;
  CurrentRoutes routes;

  // How many exits have been published, or are about to be.
  alignas(kCacheLine) std::atomic<uint32_t> published{0};

  alignas(kCacheLine) PostedQueue posted;
  // Writes that made no exit. Whoever handles an exit, or takes the posted writes, first moves them
  // to these.
  CoalescedRing coalesced;

  // Guards changes of `want` and each thread's parked state.
  std::mutex mutex;
  std::condition_variable changed;

  // A posted write that is not to wait for JavaScript to look: it ends a spin of next().
  std::atomic<bool> urgent{false};
  // The line of some cause may have to be moved.
  std::atomic<bool> lines_stale{false};

  // Appends a write to the posted ones; false if these have no room. Sets `*wake` to kYes if
  // JavaScript must be woken for it.
  bool TryPost(const Route& route, uint64_t offset, uint32_t width, uint32_t value,
               PostedQueue::Pace pace, PostedQueue::Wake* wake);
  // The same of a coalesced write.
  bool TryPost(const RouteTable& table, const kvm_coalesced_mmio& write, PostedQueue::Wake* wake);

  // Before a guest goes on from what was posted or read.
  void MoveLines(const RouteTable& table) {
    if (lines_stale.exchange(false, std::memory_order_seq_cst)) table.MoveLines();
  }

  void Wake() {
    if (!js_awake.load(std::memory_order_seq_cst)) wake.Send();
  }
};

struct VcpuCounters {
  std::atomic<uint64_t> exits{0};        // returns of KVM_RUN with something to handle
  std::atomic<uint64_t> latched{0};      // reads answered by a latch
  std::atomic<uint64_t> posted{0};       // exits whose writes were posted
  std::atomic<uint64_t> synchronous{0};  // exits that JavaScript answered
  std::atomic<uint64_t> kicks{0};        // returns of KVM_RUN by a signal
  std::atomic<uint64_t> full{0};         // waits because the posted queue was full
};

// Only its own thread counts: no read-modify-write is needed.
inline void Count(std::atomic<uint64_t>* counter) {
  counter->store(counter->load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace node_kvm
