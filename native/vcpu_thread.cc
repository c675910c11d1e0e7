#include "vcpu_thread.h"

#include <immintrin.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <utility>

#include "kvm_compat.h"
#include "support/futex.h"
#include "support/kick_signal.h"
#include "support/thread_filter.h"

namespace node_kvm {
namespace {

using Want = VcpuGroup::Want;

std::atomic_ref<uint8_t> ImmediateExit(kvm_run* run) {
  return std::atomic_ref<uint8_t>(run->immediate_exit);
}

}  // namespace

VcpuThread::VcpuThread(VcpuGroup* group, std::shared_ptr<Vcpu> vcpu, uint32_t index, int nice)
    : group_(group),
      vcpu_(std::move(vcpu)),
      index_(index),
      nice_(nice),
      shortcuts_(group, &counters_) {}

int VcpuThread::Start() {
  constexpr size_t kStack = 0x40000;
  KickSignal();
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStack);
  // Node's signals (profiler, child exits) are not this thread's business, and each would be an
  // exit. Blocked in the creator, so that there is no moment in which one could arrive.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread_, &attributes, Main, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) return error;
  started_ = true;
  char name[16];
  std::snprintf(name, sizeof name, "vcpu%u", index_);
  pthread_setname_np(thread_, name);
  return 0;
}

void VcpuThread::Kick() {
  // Before the signal: one that arrives outside KVM_RUN leaves its trace here.
  ImmediateExit(vcpu_->run()).store(1, std::memory_order_seq_cst);
  if (started_) SendKick(thread_);
}

void VcpuThread::Abandon() {
  // One that was answered is the thread's: it completes the exit, and sees that it is to end then.
  uint32_t handover = handover_.load(std::memory_order_seq_cst);
  while (handover == kPublished || handover == kPublishedAsleep) {
    if (!handover_.compare_exchange_weak(handover, kAbandoned)) continue;
    if (handover == kPublishedAsleep) FutexWakeOne(&handover_);
    break;
  }
  taken_ = false;
}

void VcpuThread::Join() {
  if (!started_) return;
  pthread_join(thread_, nullptr);
  started_ = false;
}

bool VcpuThread::TakeExit() {
  uint32_t handover = handover_.load(std::memory_order_acquire);
  if (taken_ || (handover != kPublished && handover != kPublishedAsleep)) return false;
  taken_ = true;
  return true;
}

bool VcpuThread::Complete(int64_t now) {
  if (!vcpu_->TryEnter()) return false;
  taken_ = false;
  held = false;
  answered_at_ = now;
  if (handover_.exchange(kOurs, std::memory_order_acq_rel) == kPublishedAsleep) {
    FutexWakeOne(&handover_);
  }
  return true;
}

void* VcpuThread::Main(void* self) {
  auto* thread = static_cast<VcpuThread*>(self);
  AcceptKicks();
  // On Linux a thread has a nice value of its own; to raise it is always allowed.
  if (thread->nice_ > 0) (void)!nice(thread->nice_);
  RestrictToVcpu();
  thread->Loop();
  return nullptr;
}

void VcpuThread::Loop() {
  {
    std::unique_lock lock(group_->mutex);
    group_->changed.wait(lock, [this] { return !parked_ || group_->want.load() == Want::kStop; });
    if (parked_) return;
  }
  // Unparked: the JavaScript thread has entered the vCPU on this thread's behalf.
  while (Run() && Park()) {
  }
}

bool VcpuThread::Park() {
  std::unique_lock lock(group_->mutex);
  if (group_->want.load() == Want::kRun) return true;
  vcpu_->Leave();
  parked_ = true;
  group_->wake.Send();
  group_->changed.wait(lock, [this] { return !parked_ || group_->want.load() == Want::kStop; });
  return !parked_;
}

// Clears what a kick has left behind. A kick whose `want` this does not see yet sets it again.
void VcpuThread::ArmImmediateExit() {
  std::atomic_ref<uint8_t> immediate_exit = ImmediateExit(vcpu_->run());
  if (immediate_exit.load(std::memory_order_seq_cst) == 0) return;
  immediate_exit.store(0, std::memory_order_seq_cst);
  if (group_->want.load(std::memory_order_seq_cst) != Want::kRun) {
    immediate_exit.store(1, std::memory_order_relaxed);
  }
}

bool VcpuThread::Run() {
  for (;;) {
    ArmImmediateExit();
    int error = ioctl(vcpu_->fd(), KVM_RUN, 0) < 0 ? errno : 0;
    if (error == EINTR || error == EAGAIN) {
      Count(&counters_.kicks);
      // KVM completes a PIO or MMIO exit at the next KVM_RUN, before it looks at immediate_exit
      // (KVM API, 5 "The kvm_run structure"). So here, and nowhere else, none is incomplete.
      if (group_->want.load(std::memory_order_seq_cst) != Want::kRun) return true;
      continue;
    }
    if (group_->coalesced.pending()) shortcuts_.PostCoalesced();
    Count(&counters_.exits);
    if (error != 0) {
      if (!Publish(error)) return false;
      continue;
    }
    uint64_t left = __rdtsc();
    // Before JavaScript has the run page.
    ExitStats::Exit exit = stats_.Find(*vcpu_->run());
    bool served = shortcuts_.Serve(*vcpu_);
    shortcuts_.MoveLines();
    bool goes_on = served || Publish(0);
    // One that ends the guest took no time of it.
    ExitStats::Count(exit, !served, goes_on ? __rdtsc() - left : 0);
    if (!goes_on) return false;
  }
}

bool VcpuThread::Publish(int error) {
  Count(&counters_.synchronous);
  error_ = error;
  published_at_ = MonotonicNow();
  cpu_ = sched_getcpu();
  vcpu_->Leave();
  group_->published.fetch_add(1, std::memory_order_seq_cst);
  handover_.store(kPublished, std::memory_order_seq_cst);
  group_->Wake();

  int64_t limit = group_->spin_limit.load(std::memory_order_relaxed);
  SpinWait wait(&spin_, limit, published_at_, published_at_ + spin_.length(limit));
  for (;;) {
    uint32_t handover = handover_.load(std::memory_order_seq_cst);
    if (handover == kOurs) break;
    if (handover == kAbandoned) return false;
    if (group_->want.load(std::memory_order_seq_cst) == Want::kStop) {
      // The stop came before the exit was published, and so has not abandoned it.
      if (handover_.compare_exchange_strong(handover, kAbandoned)) return false;
    } else if (!wait.Turn(group_->js_cpu.load(std::memory_order_relaxed)) &&
               (handover == kPublishedAsleep ||
                handover_.compare_exchange_strong(handover, kPublishedAsleep))) {
      FutexWait(&handover_, kPublishedAsleep);
    }
  }
  wait.Came(answered_at_);
  return true;
}

}  // namespace node_kvm
