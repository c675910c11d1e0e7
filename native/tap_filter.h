#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace node_kvm {

// The frames that a guest has asked for (virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3), and its MTU.
class TapFilter {
 public:
  // As lib/binding/net.ts has them.
  static constexpr uint32_t kActive = 1;
  static constexpr uint32_t kBroadcast = 2;
  static constexpr uint32_t kAllUnicast = 4;
  static constexpr uint32_t kAllMulticast = 8;
  // Bytes of a frame that are looked at: addresses, type, and a VLAN tag.
  static constexpr size_t kLook = 18;

  void Set(uint32_t flags, std::vector<uint64_t> macs, std::vector<uint8_t> vlans);
  // Bytes of the longest IP packet in one frame that is not to be cut into segments; 0: no limit.
  void SetMtu(uint32_t mtu) { mtu_ = mtu; }
  // `head` holds the first kLook bytes of a frame of `length` bytes, or all of a shorter one.
  bool Wanted(const uint8_t* head, size_t length, bool segmented) const;

 private:
  uint32_t flags_ = 0;
  uint32_t mtu_ = 0;
  std::vector<uint64_t> macs_;  // sorted
  std::vector<uint8_t> vlans_;  // a bit for each of 4096, or empty: all
};

}  // namespace node_kvm
