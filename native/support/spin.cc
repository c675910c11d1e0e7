#include "support/spin.h"

#include <immintrin.h>
#include <sched.h>

#include <algorithm>
#include <ctime>

namespace node_kvm {

int64_t MonotonicNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1'000'000'000) + now.tv_nsec;
}

void AdaptiveSpin::Record(int64_t waited, int64_t limit) {
  if (rest_ > 0) {
    rest_--;
  } else if (waited <= limit) {
    length_ = limit;
    next_rest_ = std::max(kMinRest, next_rest_ - 1);
  } else {
    length_ /= 2;
    if (length_ < kShortest) length_ = 0;
  }
}

void AdaptiveSpin::Punish() {
  length_ = 0;
  rest_ = next_rest_;
  next_rest_ = std::min(kMaxRest, next_rest_ * 2);
}

bool SpinWait::Turn(int cpu) {
  if (stolen_) {
    spin_->Punish();
    stolen_ = false;
    until_ = 0;
  }
  if (now_ >= until_) return false;
  bool yield = sched_getcpu() == cpu;
  if (yield) {
    sched_yield();
  } else {
    for (int i = 0; i < 4; i++) _mm_pause();
  }
  int64_t before = now_;
  now_ = MonotonicNow();
  stolen_ = yield && now_ - before > kStolen;
  return true;
}

void SpinWait::Came(int64_t at) {
  if (stolen_ && now_ - at > kStolen) {
    spin_->Punish();
  } else {
    spin_->Record(at - start_, limit_);
  }
}

}  // namespace node_kvm
