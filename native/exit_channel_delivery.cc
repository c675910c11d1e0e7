// How exits and posted writes come to JavaScript: next(), and the calls from the event loop.
#include <sched.h>

#include <algorithm>
#include <utility>

#include "exit_channel.h"
#include "support/args.h"
#include "support/errors.h"

namespace node_kvm {
namespace {

// Nanoseconds of exits in one turn of the event loop.
constexpr int64_t kSlice = 250'000;
constexpr uint64_t kPollMilliseconds = 1;
// The same while all were coalesced, whose devices are used to a delay: text of a console. Each
// time costs more than the bytes.
constexpr uint64_t kLumpMilliseconds = 4;
// How often to look for coalesced writes that no exit has followed. Drivers read a register after
// the last byte of a line, so this is for the few guests that fall silent at once.
constexpr uint64_t kWatchMilliseconds = 100;

}  // namespace

void ExitChannel::TakePostedWrites() {
  // First, so that a write which is too late for this keeps it.
  if (IsUrgent()) group_.urgent.store(false, std::memory_order_seq_cst);
  if (group_.coalesced.pending()) {
    const RouteTable& table = group_.routes.table();
    PostedQueue::Wake wake = PostedQueue::Wake::kNo;
    group_.coalesced.Drain(
        [&](const kvm_coalesced_mmio& write) { return group_.TryPost(table, write, &wake); });
    group_.MoveLines(table);
  }
  mailbox_->posted_count = group_.posted.Take(mailbox_->posted);
}

napi_value ExitChannel::TakePosted(napi_env env, const Args&) {
  if (!CheckOpen(env)) return nullptr;
  TakePostedWrites();
  return MakeNumber(env, mailbox_->posted_count);
}

void ExitChannel::OnWork() {
  if (!on_work_) return;
  group_.js_awake.store(true, std::memory_order_seq_cst);
  slice_over_ = true;
  // The function may close this channel, and a channel that is closed may be collected.
  std::shared_ptr<Target> target = target_;
  // It is told only of what holds now. It may also run and pause the vCPUs again: then another call
  // is due.
  bool parked = ParkedNow();
  uint64_t runs = runs_;
  on_work_.Call();
  if (target->channel && parked && runs == runs_) Rest();
}

void ExitChannel::Poll() {
  if (!group_.posted.polling()) {
    SetPeriod(coalesces_ ? kWatchMilliseconds : 0);
  } else {
    bool lumps = group_.posted.ChoosePace() == PostedQueue::Pace::kLumps;
    SetPeriod(lumps ? kLumpMilliseconds : kPollMilliseconds);
  }
}

void ExitChannel::SetPeriod(uint64_t milliseconds) {
  if (poll_period_ == milliseconds) return;
  poll_period_ = milliseconds;
  if (milliseconds == 0) {
    poll_timer_.Stop();
  } else {
    poll_timer_.Start(milliseconds);
  }
}

void ExitChannel::OnTick() {
  if (!on_work_) {
    SetPeriod(0);
  } else if (!group_.coalesced.pending() && group_.posted.StopPolling()) {
    Poll();
  } else if (!group_.js_awake.load(std::memory_order_relaxed)) {
    OnWork();
  }
}

napi_value ExitChannel::Next(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument = nullptr;
  void* data = nullptr;
  int32_t answered = kIdle;
  if (napi_get_cb_info(env, info, &count, &argument, nullptr, &data) != napi_ok) return nullptr;
  ExitChannel* channel = static_cast<Target*>(data)->channel;
  if (!channel) return ThrowClosed(env, "ExitChannel");
  if (napi_get_value_int32(env, argument, &answered) != napi_ok) {
    return ThrowInvalidOption(env, "answered", argument, "the index of a vCPU, or -1");
  }
  if (answered >= 0 && !channel->Answer(env, answered)) return nullptr;
  return MakeInt32(env, channel->NextExit());
}

bool ExitChannel::Answer(napi_env env, int32_t index) {
  if (static_cast<size_t>(index) >= threads_.size() || !threads_[index]->taken()) {
    ThrowVmmError(env, "ERR_STATE", "the vCPU has no exit that waits for an answer");
    return false;
  }
  answered_at_ = MonotonicNow();
  int cpu = sched_getcpu();
  if (group_.js_cpu.load(std::memory_order_relaxed) != cpu) {
    group_.js_cpu.store(cpu, std::memory_order_relaxed);
  }
  if (!threads_[index]->Complete(answered_at_)) {
    ThrowVmmError(env, "ERR_VCPU_RUNNING", "the vCPU is run by someone else");
    return false;
  }
  return true;
}

bool ExitChannel::HasExit() const {
  return group_.published.load(std::memory_order_seq_cst) != exits_taken_;
}

VcpuThread* ExitChannel::PickExit() {
  for (size_t i = 0; i < threads_.size(); i++) {
    size_t index = (first_ + i) % threads_.size();
    if (!threads_[index]->TakeExit()) continue;
    exits_taken_++;
    first_ = index + 1;
    return threads_[index].get();
  }
  return nullptr;
}

int32_t ExitChannel::Deliver(VcpuThread* thread) {
  mailbox_->error = thread->error();
  partner_cpu_ = thread->cpu();
  TakePostedWrites();
  return static_cast<int32_t>(thread->index());
}

int32_t ExitChannel::NextExit() {
  int64_t now = MonotonicNow();
  int64_t limit = group_.spin_limit.load(std::memory_order_relaxed);
  if (std::exchange(slice_over_, false)) slice_end_ = now + kSlice;
  for (;;) {
    int64_t spin = spin_.length(limit);
    if (now >= slice_end_ && (spin > 0 || HasExit() || IsUrgent())) {
      slice_over_ = true;
      TakePostedWrites();
      return kYield;
    }
    SpinWait wait(&spin_, limit, now, std::min(now + spin, slice_end_));
    while (!HasExit() && !IsUrgent() && wait.Turn(partner_cpu_)) {
    }
    now = wait.now();
    if (HasExit()) {
      VcpuThread* thread = PickExit();
      if (!thread) {
        // Announced, and about to be published.
        sched_yield();
        now = MonotonicNow();
        continue;
      }
      // If JavaScript slept, what counts is whether a spin would have caught this exit.
      int64_t gap = thread->published_at() - answered_at_;
      if (!std::exchange(slept_, false)) {
        wait.Came(thread->published_at());
      } else if (gap <= limit) {
        spin_.Record(gap, limit);
      }
      return Deliver(thread);
    }
    if (IsUrgent()) {
      TakePostedWrites();
      return kPosted;
    }
    if (spin > 0) wait.Missed();
    // Whoever publishes or posts after this store wakes JavaScript; who did before is seen below.
    group_.js_awake.store(false, std::memory_order_seq_cst);
    if (!HasExit()) break;
    group_.js_awake.store(true, std::memory_order_relaxed);
  }
  TakePostedWrites();
  Poll();
  slept_ = true;
  return kIdle;
}

}  // namespace node_kvm
