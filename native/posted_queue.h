#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace node_kvm {

// A guest's write that it need not wait for, as JavaScript reads it.
struct PostedWrite {
  uint32_t route;
  uint32_t offset;
  uint32_t width;  // bytes: 1, 2 or 4
  uint32_t value;
};

// The posted writes of all vCPUs of one VM in the order they were made, which is one order for all:
// if one vCPU hands a device over to another, by a lock say, the device sees the first one's
// writes before the second one's. Bounded: a vCPU that finds it full waits.
//
// JavaScript learns of it as a driver learns of frames under NAPI: the first write wakes it, and
// from then on it polls until it once finds nothing.
class PostedQueue {
 public:
  static constexpr uint32_t kCapacity = 2048;

  enum class Wake : bool { kNo, kYes };

  // Appends without waiting; false if full. Sets `*wake` to kYes if JavaScript must be woken: it
  // does not poll, or half of the queue is in use.
  bool TryPush(const PostedWrite& write, Wake* wake);
  // Waits until there is room; false if the queue was ended.
  bool WaitForRoom();

  // JavaScript thread. Moves everything to `out`, which holds kCapacity; returns how many.
  uint32_t Take(PostedWrite* out);
  // Goes back to being woken by the first write if there are none now; false if there are.
  bool StopPolling();
  bool polling();
  // Releases all who wait, and whoever comes, for good.
  void End();

 private:
  std::mutex mutex_;
  std::condition_variable room_;
  // Mirrors the count for a look without the lock.
  std::atomic<uint32_t> count_{0};
  bool polling_ = false;
  bool ended_ = false;
  std::array<PostedWrite, kCapacity> writes_;
};

}  // namespace node_kvm
