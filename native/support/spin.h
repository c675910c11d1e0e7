#pragma once

#include <cstdint>

namespace node_kvm {

// CLOCK_MONOTONIC in nanoseconds.
int64_t MonotonicNow();

// How long one thread spins for another before it sleeps: all of a limit while what it waits for
// keeps coming within that, ever less while it does not.
class AdaptiveSpin {
 public:
  int64_t length(int64_t limit) const { return length_ < limit ? length_ : limit; }
  // It came after `waited`, which may be longer than was spun.
  void Record(int64_t waited, int64_t limit);
  // Spinning did harm: none for a while, longer each time.
  void Punish();

 private:
  static constexpr int64_t kShortest = 2'000;
  static constexpr uint32_t kMinRest = 16;
  static constexpr uint32_t kMaxRest = 4096;
  int64_t length_ = 0;
  uint32_t rest_ = 0;  // waits without spin to come
  uint32_t next_rest_ = kMinRest;
};

// One wait, which begins when this is made.
//
// A spin that keeps a core from the very thread it waits for would cost a hundred times what it
// saves, so if that was last seen on this core, each turn yields. But a yield gives the core to
// whoever else wants it, for milliseconds, where a thread that sleeps gets it back as soon as it
// is woken: if that happens, spinning rests.
class SpinWait {
 public:
  SpinWait(AdaptiveSpin* spin, int64_t limit, int64_t start, int64_t until)
      : spin_(spin), limit_(limit), start_(start), until_(until), now_(start) {}

  // Passes a moment. False, without that, if the spin is over. To be called only after a look for
  // what is waited for. `cpu` is where the thread that is to bring it was last seen.
  bool Turn(int cpu);
  // What was waited for came at `at`; seen just now.
  void Came(int64_t at);
  // It has not come, and is waited for no more.
  void Missed() { spin_->Record(limit_ + 1, limit_); }
  // When the last turn ended.
  int64_t now() const { return now_; }

 private:
  // Longer than a yield to a partner, which goes on as soon as it has brought what it is to bring.
  static constexpr int64_t kStolen = 20'000;

  AdaptiveSpin* spin_;
  int64_t limit_;
  int64_t start_;
  int64_t until_;
  int64_t now_;
  bool stolen_ = false;  // the last turn took suspiciously long
};

}  // namespace node_kvm
