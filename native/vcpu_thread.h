#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "exit_shortcuts.h"
#include "exit_stats.h"
#include "route_table.h"
#include "support/spin.h"
#include "vcpu_fd.h"
#include "vcpu_group.h"

namespace node_kvm {

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
  const CurrentRoutes::Hazard* hazard() const { return shortcuts_.hazard(); }

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
  VcpuCounters counters_;
  ExitShortcuts shortcuts_;
  ExitStats stats_;
};

}  // namespace node_kvm
