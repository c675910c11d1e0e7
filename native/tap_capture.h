#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace node_kvm {

// Frames as records of a pcap file with nanoseconds, kept until they are taken.
class TapCapture {
 public:
  // Keeps up to `capacity` bytes of records, each of at most `snap_length` bytes of its frame.
  // `capacity` 0: off.
  void Start(size_t capacity, size_t snap_length);
  bool on() const { return capacity_ != 0; }
  // The frame lies in `segments` from byte `skip` on, and has `length` bytes.
  void Add(const std::vector<iovec>& segments, size_t skip, size_t length);
  // All records since the last call, moved out.
  std::vector<uint8_t> Take();
  size_t size() const { return records_.size(); }
  uint32_t dropped() const { return dropped_; }

 private:
  std::vector<uint8_t> records_;
  size_t capacity_ = 0;
  size_t snap_length_ = 0;
  uint32_t dropped_ = 0;  // frames, for want of room
};

}  // namespace node_kvm
