#include "tap_filter.h"

#include <algorithm>
#include <utility>

namespace node_kvm {
namespace {

constexpr size_t kEthernetHeader = 14;
constexpr size_t kVlanTag = 4;
constexpr uint64_t kBroadcastMac = (uint64_t{1} << 48) - 1;

}  // namespace

void TapFilter::Set(uint32_t flags, std::vector<uint64_t> macs, std::vector<uint8_t> vlans) {
  flags_ = flags;
  macs_ = std::move(macs);
  std::sort(macs_.begin(), macs_.end());
  vlans_ = std::move(vlans);
}

bool TapFilter::Wanted(const uint8_t* head, size_t length, bool segmented) const {
  if (length < kEthernetHeader) return true;
  bool tagged = length >= kEthernetHeader + kVlanTag && head[12] == 0x81 && head[13] == 0;
  if (mtu_ != 0 && !segmented && length > mtu_ + kEthernetHeader + (tagged ? kVlanTag : 0)) {
    return false;
  }
  if ((flags_ & kActive) == 0) return true;
  if (tagged && !vlans_.empty()) {
    // A priority tag of VLAN 0 is no VLAN.
    size_t vlan = static_cast<size_t>(head[14] & 0x0f) << 8 | head[15];
    if (vlan != 0 && vlan / 8 < vlans_.size() && (vlans_[vlan / 8] >> vlan % 8 & 1) == 0) {
      return false;
    }
  }
  uint64_t destination = 0;
  for (size_t i = 0; i < 6; i++) destination = destination << 8 | head[i];
  if (destination == kBroadcastMac) return (flags_ & kBroadcast) != 0;
  if ((flags_ & ((head[0] & 1) == 0 ? kAllUnicast : kAllMulticast)) != 0) return true;
  return std::binary_search(macs_.begin(), macs_.end(), destination);
}

}  // namespace node_kvm
