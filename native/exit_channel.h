#pragma once

#include <node_api.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "exit_stats.h"
#include "support/buffer_set.h"
#include "support/callback.h"
#include "support/class.h"
#include "support/loop_handle.h"
#include "vcpu_thread.h"

namespace node_kvm {

// The threads of one VM's vCPUs, and the way of their exits to the JavaScript thread that owns the
// VM and back. An exit is
//
// - latched: a read of a register whose value the device keeps in a cell; answered by the thread;
// - posted: a write that the guest need not wait for; queued, and the guest goes on;
// - synchronous: anything else; published, and the thread waits for JavaScript's answer.
//
// JavaScript takes exits by next(), which before each hands over all posted writes there are: so a
// device sees what one vCPU did in that vCPU's order, and what several did in an order that agrees
// with the guest's own.
class ExitChannel {
 public:
  static constexpr char kName[] = "ExitChannel";
  // What next() returns besides a vCPU's index.
  static constexpr int32_t kIdle = -1;
  static constexpr int32_t kYield = -2;
  static constexpr int32_t kPosted = -3;

  ExitChannel() = default;
  ~ExitChannel();
  ExitChannel(const ExitChannel&) = delete;
  ExitChannel& operator=(const ExitChannel&) = delete;

  // False with an exception pending. `self` is the JavaScript object.
  bool Open(napi_env env, napi_value self);

  napi_value AddRoute(napi_env env, const Args& args);
  napi_value RemoveRoute(napi_env env, const Args& args);
  napi_value SetLatch(napi_env env, const Args& args);
  napi_value SetCause(napi_env env, const Args& args);
  napi_value CausePending(napi_env env, const Args& args);
  napi_value ReadCause(napi_env env, const Args& args);
  napi_value AddVcpu(napi_env env, const Args& args);
  napi_value Run(napi_env env, const Args& args);
  napi_value Pause(napi_env env, const Args& args);
  napi_value Parked(napi_env env);
  napi_value Stop(napi_env env, const Args& args);
  napi_value Hold(napi_env env, const Args& args);
  napi_value Settle(napi_env env, const Args& args);
  napi_value Mailbox(napi_env env);
  napi_value TakePosted(napi_env env, const Args& args);
  napi_value Counters(napi_env env, const Args& args);
  napi_value ExitCounts(napi_env env, const Args& args);
  napi_value SetSpin(napi_env env, const Args& args);
  napi_value Coalesced(napi_env env);
  napi_value Coalesce(napi_env env, const Args& args);
  napi_value SetAffinity(napi_env env, const Args& args);
  napi_value Ref(napi_env env, const Args& args);
  napi_value Unref(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  // What JavaScript reads after next() and takePosted(), as Uint32Array.
  struct MailboxPage {
    uint32_t posted_count;
    uint32_t error;  // of the vCPU that next() returned: KVM_RUN's errno
    uint32_t reserved[2];
    PostedWrite posted[PostedQueue::kCapacity];
  };
  // What the function `next` finds: emptied when the channel goes.
  struct Target {
    ExitChannel* channel;
  };

  static napi_value Next(napi_env env, napi_callback_info info);
  int32_t NextExit();
  bool HasExit() const;
  bool IsUrgent() const { return group_.urgent.load(std::memory_order_relaxed); }
  VcpuThread* PickExit();
  int32_t Deliver(VcpuThread* thread);
  bool Answer(napi_env env, int32_t index);

  bool CheckOpen(napi_env env);
  // nullptr with an exception pending.
  InterruptCause* GetCause(napi_env env, napi_value id);
  // The threads of the indices, all if there are none; false with an exception pending.
  bool ChooseVcpus(napi_env env, napi_value only, std::vector<VcpuThread*>* chosen);
  VcpuThread* GetVcpu(napi_env env, napi_value index);
  bool ParkedNow();
  void OnWork();
  void OnTick();
  // Looks for posted writes again soon if there was one lately, else now and then for coalesced
  // ones.
  void Poll();
  // 0 stops the timer.
  void SetPeriod(uint64_t milliseconds);
  // The VM is paused or stopped: nothing more will come, so that neither the event loop nor the
  // JavaScript objects are kept alive for it.
  void Rest();
  void StopThreads();
  // Ends all but the object.
  void Shut();
  // The environment ends: a Worker is terminated, the program is done.
  static void EndWithEnvironment(void* self);
  void TakePostedWrites();

  napi_env env_ = nullptr;
  VcpuGroup group_;
  std::vector<std::unique_ptr<VcpuThread>> threads_;
  std::unordered_map<uint32_t, std::shared_ptr<Route>> routes_;
  uint32_t next_route_id_ = 1;
  Callback on_work_;
  TimerHandle poll_timer_;
  uint64_t poll_period_ = 0;
  // Whether KVM may put writes into the ring.
  bool coalesces_ = false;
  // Calls of run().
  uint64_t runs_ = 0;
  bool ref_ = true;
  bool closed_ = false;
  TscClock tsc_clock_;
  bool hooked_ = false;
  std::shared_ptr<Target> target_;
  std::shared_ptr<MailboxPage> mailbox_;
  BufferSet buffers_;

  // How many of the published exits were taken.
  uint32_t exits_taken_ = 0;
  // When this turn of the event loop is to end.
  int64_t slice_end_ = 0;
  bool slice_over_ = true;
  // For how long JavaScript waits inside next() for one more exit.
  AdaptiveSpin spin_;
  int64_t answered_at_ = 0;
  // Where the vCPU that was answered last was last seen.
  int partner_cpu_ = -1;
  // Whether next() has returned kIdle since the last exit.
  bool slept_ = false;
  // Where the search for the next exit begins: after the last one found, so that all have a turn.
  size_t first_ = 0;
};

bool DefineExitChannel(napi_env env, napi_value exports);

}  // namespace node_kvm
