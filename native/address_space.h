#pragma once

#include <node_api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "mapped_memory.h"
#include "support/class.h"

namespace node_kvm {

// Guest-physical ranges and the host memory behind them, unchangeable: I/O in flight holds one by
// shared_ptr, which keeps every mapping in it alive, and reads it from any thread.
class AddressSpaceSnapshot {
 public:
  struct Range {
    uint64_t guest_address;
    uint64_t size;
    uint8_t* host;
    std::shared_ptr<const MappedMemory> memory;
  };

  explicit AddressSpaceSnapshot(std::vector<Range> ranges) : ranges_(std::move(ranges)) {}

  // The host address of `[guest_address, guest_address + length)`; false unless one range holds all
  // of it.
  bool Resolve(uint64_t guest_address, uint64_t length, void** host) const {
    for (const Range& range : ranges_) {
      uint64_t offset = guest_address - range.guest_address;
      if (guest_address >= range.guest_address && offset < range.size) {
        if (length > range.size - offset) return false;
        *host = range.host + offset;
        return true;
      }
    }
    return false;
  }

  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;  // by guest address, none overlapping
};

// The JavaScript class. Belongs to one thread; what other threads use is a snapshot.
class AddressSpace {
 public:
  static constexpr char kName[] = "AddressSpace";

  // The present ranges: empty once closed, never nullptr.
  std::shared_ptr<const AddressSpaceSnapshot> snapshot() const { return snapshot_; }
  bool closed() const { return closed_; }
  bool Resolve(uint64_t guest_address, uint64_t length, void** host) const {
    return snapshot_->Resolve(guest_address, length, host);
  }

  napi_value Add(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  std::shared_ptr<const AddressSpaceSnapshot> snapshot_ =
      std::make_shared<AddressSpaceSnapshot>(std::vector<AddressSpaceSnapshot::Range>());
  bool closed_ = false;
};

bool DefineAddressSpace(napi_env env, napi_value exports);

}  // namespace node_kvm
