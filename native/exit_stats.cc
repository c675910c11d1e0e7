#include "exit_stats.h"

#include <immintrin.h>

#include <algorithm>

#include "support/spin.h"

namespace node_kvm {
namespace {

// Only one thread writes: no read-modify-write is needed.
void Add(std::atomic<uint64_t>* counter, uint64_t amount) {
  counter->store(counter->load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

void AddTo(ExitStats::Tally* tally, bool synchronous, uint64_t ticks) {
  Add(&tally->count, 1);
  Add(&tally->ticks, ticks);
  if (synchronous) Add(&tally->synchronous, 1);
}

}  // namespace

ExitStats::Exit ExitStats::Find(const kvm_run& run) {
  Exit exit = {&reasons_[std::min<size_t>(run.exit_reason, kReasons - 1)], nullptr};
  if (run.exit_reason == KVM_EXIT_IO) {
    exit.place = FindPlace(Key(false, run.io.direction == KVM_EXIT_IO_OUT, run.io.port));
  } else if (run.exit_reason == KVM_EXIT_MMIO) {
    exit.place = FindPlace(Key(true, run.mmio.is_write, run.mmio.phys_addr));
  }
  return exit;
}

void ExitStats::Count(const Exit& exit, bool synchronous, uint64_t ticks) {
  AddTo(exit.reason, synchronous, ticks);
  if (exit.place) AddTo(exit.place, synchronous, ticks);
}

ExitStats::Tally* ExitStats::FindPlace(uint64_t key) {
  // Where it stands follows from the key, or is one of the next few: a guest that touches
  // everything costs no more than one that touches little.
  constexpr size_t kProbes = 8;
  size_t first = static_cast<size_t>(key * UINT64_C(0x9e3779b97f4a7c15) >> 40);
  for (size_t i = 0; i < kProbes; i++) {
    Place& place = places_[(first + i) % kPlaces];
    uint64_t present = place.key.load(std::memory_order_relaxed);
    if (present == 0) place.key.store(key, std::memory_order_relaxed);
    if (present == 0 || present == key) return &place.tally;
  }
  return &others_;
}

TscClock::TscClock() : ticks_(__rdtsc()), nanoseconds_(MonotonicNow()) {}

double TscClock::NanosecondsPerTick() const {
  uint64_t ticks = __rdtsc();
  if (ticks <= ticks_) return 0;
  return static_cast<double>(MonotonicNow() - nanoseconds_) / static_cast<double>(ticks - ticks_);
}

}  // namespace node_kvm
