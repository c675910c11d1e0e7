#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kvm_compat.h"

namespace node_kvm {

// What one vCPU exited for, how often, and how long it was out of the guest for it. Its thread
// alone writes; any may read. Times are in ticks of the TSC, which costs a tenth of a clock's
// reading.
class ExitStats {
 public:
  static constexpr size_t kReasons = 64;
  // A guest may touch every port and address; the first so many have a place of their own.
  static constexpr size_t kPlaces = 512;

  struct Tally {
    std::atomic<uint64_t> count{0};
    // How many of them JavaScript answered.
    std::atomic<uint64_t> synchronous{0};
    std::atomic<uint64_t> ticks{0};
  };
  // Reads or writes of one port or address; unused while the key is 0.
  struct Place {
    std::atomic<uint64_t> key{0};
    Tally tally;
  };
  // What an exit counts for.
  struct Exit {
    Tally* reason;
    Tally* place;  // null unless it is an access
  };

  static uint64_t Key(bool is_mmio, bool is_write, uint64_t address) {
    return address << 3 | uint64_t{is_mmio} << 2 | uint64_t{is_write} << 1 | 1;
  }

  static bool IsMmio(uint64_t key) { return key & 4; }
  static bool IsWrite(uint64_t key) { return key & 2; }
  static uint64_t Address(uint64_t key) { return key >> 3; }

  // For the exit that the run page tells of.
  Exit Find(const kvm_run& run);
  static void Count(const Exit& exit, bool synchronous, uint64_t ticks);

  const std::array<Tally, kReasons>& reasons() const { return reasons_; }
  const std::array<Place, kPlaces>& places() const { return places_; }
  // Accesses that found no place.
  const Tally& others() const { return others_; }

 private:
  Tally* FindPlace(uint64_t key);

  std::array<Tally, kReasons> reasons_;
  std::array<Place, kPlaces> places_;
  Tally others_;
};

// What a tick is, by how many came to pass since this was made.
class TscClock {
 public:
  TscClock();
  double NanosecondsPerTick() const;

 private:
  uint64_t ticks_;
  int64_t nanoseconds_;
};

}  // namespace node_kvm
