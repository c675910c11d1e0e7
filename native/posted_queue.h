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
  // What may come in lumps is polled for less often.
  enum class Pace : bool { kSoon, kLumps };

  // Appends without waiting; false if full. Sets `*wake` to kYes if JavaScript must be woken: it
  // does not poll, or not soon enough for this, or half of the queue is in use.
  bool TryPush(const PostedWrite& write, Pace pace, Wake* wake);
  // Waits until there is room; false if the queue was ended.
  bool WaitForRoom();

  // JavaScript thread. Moves everything to `out`, which holds kCapacity; returns how many.
  uint32_t Take(PostedWrite* out);
  // Goes back to being woken by the first write if there are none now; false if there are.
  bool StopPolling();
  bool polling();
  // At what pace to poll, by what came since the last call.
  Pace ChoosePace();
  // Releases all who wait, and whoever comes, for good.
  void End();

 private:
  std::mutex mutex_;
  std::condition_variable room_;
  // Mirrors the count for a look without the lock.
  std::atomic<uint32_t> count_{0};
  bool polling_ = false;
  Pace pace_ = Pace::kSoon;     // at which JavaScript polls
  Pace needed_ = Pace::kLumps;  // of the writes since that was chosen
  bool ended_ = false;
  std::array<PostedWrite, kCapacity> writes_;
};

}  // namespace node_kvm
