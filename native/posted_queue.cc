#include "posted_queue.h"

#include <algorithm>
#include <utility>

namespace node_kvm {

bool PostedQueue::TryPush(const PostedWrite& write, Pace pace, Wake* wake) {
  std::lock_guard lock(mutex_);
  uint32_t count = count_.load(std::memory_order_relaxed);
  if (count == kCapacity) return false;
  writes_[count] = write;
  count_.store(++count, std::memory_order_release);
  if (pace == Pace::kSoon) needed_ = pace;
  bool late = needed_ == Pace::kSoon && pace_ == Pace::kLumps;
  if (!polling_ || late || count == kCapacity / 2) *wake = Wake::kYes;
  polling_ = true;
  return true;
}

bool PostedQueue::WaitForRoom() {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [this] { return ended_ || count_.load(std::memory_order_relaxed) < kCapacity; });
  return !ended_;
}

uint32_t PostedQueue::Take(PostedWrite* out) {
  if (count_.load(std::memory_order_acquire) == 0) return 0;
  std::lock_guard lock(mutex_);
  uint32_t count = count_.load(std::memory_order_relaxed);
  std::copy_n(writes_.begin(), count, out);
  count_.store(0, std::memory_order_relaxed);
  if (count == kCapacity) room_.notify_all();
  return count;
}

bool PostedQueue::StopPolling() {
  std::lock_guard lock(mutex_);
  if (count_.load(std::memory_order_relaxed) > 0) return false;
  polling_ = false;
  return true;
}

PostedQueue::Pace PostedQueue::ChoosePace() {
  std::lock_guard lock(mutex_);
  pace_ = std::exchange(needed_, Pace::kLumps);
  return pace_;
}

bool PostedQueue::polling() {
  std::lock_guard lock(mutex_);
  return polling_;
}

void PostedQueue::End() {
  std::lock_guard lock(mutex_);
  ended_ = true;
  room_.notify_all();
}

}  // namespace node_kvm
