#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "coalesced_ring.h"
#include "exit_stats.h"
#include "posted_queue.h"
#include "route_table.h"
#include "support/loop_handle.h"
#include "support/spin.h"
#include "vcpu_fd.h"

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

// The host thread of one vCPU. It runs the guest, serves the exits that the routes let it serve
// alone, and hands over the others. Public methods belong to the JavaScript thread.
class VcpuThread {
 public:
  // nice: by how much its nice value is above that of the thread that starts it.
  VcpuThread(VcpuGroup* group, std::shared_ptr<Vcpu> vcpu, uint32_t index, int nice);
  // Stopped and joined, or never started.
  ~VcpuThread() = default;
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  // Makes the thread, parked. 0 or the errno.
  int Start();
  // With the group's mutex held.
  bool parked() const { return parked_; }
  void Unpark() { parked_ = false; }
  // Takes the thread out of KVM_RUN, and keeps it from entering again while the group does not want
  // it to run.
  void Kick();
  // Ends the wait for an answer, without one; the group wants kStop.
  void Abandon();
  void Join();

  // Whether an exit is published that was not taken before; from now on it is.
  bool TakeExit();
  bool taken() const { return taken_; }
  // The errno of KVM_RUN, 0 if it returned an exit.
  int error() const { return error_; }
  int64_t published_at() const { return published_at_; }
  // The host CPU that it was published on.
  int cpu() const { return cpu_; }
  // Lets a taken exit go on. False if another thread has entered the vCPU.
  bool Complete(int64_t now);

  // A taken exit that is never to be completed: the vCPU counts as parked.
  bool held = false;

  uint32_t index() const { return index_; }
  Vcpu& vcpu() { return *vcpu_; }
  const VcpuCounters& counters() const { return counters_; }
  const ExitStats& stats() const { return stats_; }
  pthread_t thread() const { return thread_; }
  const CurrentRoutes::Hazard* hazard() const { return &hazard_; }

 private:
  // Who has the exit, and how its thread waits. A futex.
  enum Handover : uint32_t { kOurs, kPublished, kPublishedAsleep, kAbandoned };

  static void* Main(void* self);
  void Loop();
  // False when the thread is to end.
  bool Park();
  // From one KVM_RUN to the next until the group does not want it. False when the thread is to end.
  bool Run();
  void ArmImmediateExit();
  bool Serve();
  bool ServeIo();
  bool ServeMmio();
  // One read of a register whose value is at hand; false if JavaScript is to answer.
  bool ReadShortcut(const Route& route, uint64_t offset, uint32_t width, int64_t* value);
  // Once an exit is served, or before JavaScript serves it.
  void MoveLines();
  // Before the exit that came after them is handled.
  void PostCoalesced();
  void Post(const Route& route, uint64_t offset, uint32_t width, uint32_t value);
  // After a post that found no room; false if the VM ends: what it writes no longer matters.
  bool WaitForRoom();
  // Hands the exit over and waits; false if the thread is to end.
  bool Publish(int error);

  VcpuGroup* group_;
  std::shared_ptr<Vcpu> vcpu_;
  uint32_t index_;
  int nice_;
  pthread_t thread_ = {};
  bool started_ = false;

  bool parked_ = true;  // guarded by the group's mutex
  bool taken_ = false;  // JavaScript thread only

  alignas(kCacheLine) std::atomic<uint32_t> handover_{kOurs};
  // Written before publishing.
  int error_ = 0;
  int cpu_ = -1;
  int64_t published_at_ = 0;
  // Written before the answer.
  int64_t answered_at_ = 0;

  // The thread's own.
  alignas(kCacheLine) AdaptiveSpin spin_;
  CurrentRoutes::Hazard hazard_{nullptr};
  VcpuCounters counters_;
  ExitStats stats_;
};

}  // namespace node_kvm
