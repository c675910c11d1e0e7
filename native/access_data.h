#pragma once

#include <cstdint>
#include <cstring>

namespace node_kvm {

// The data of an access to a device, as kvm_run has it: guests, and so these, are little-endian.

// What routes know of; the kernel has strings of others.
inline bool IsShortWidth(uint32_t width) { return width == 1 || width == 2 || width == 4; }

inline uint32_t LoadData(const uint8_t* bytes, uint32_t width) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, width);
  return value;
}

inline void StoreData(uint8_t* bytes, uint32_t width, int64_t value) {
  std::memcpy(bytes, &value, width);
}

}  // namespace node_kvm
