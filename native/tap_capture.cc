#include "tap_capture.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

namespace node_kvm {
namespace {

// Before each frame; in the byte order that the file's magic number shows.
struct PcapRecord {
  uint32_t seconds;
  uint32_t nanoseconds;
  uint32_t captured;
  uint32_t length;
};
static_assert(sizeof(PcapRecord) == 16);

}  // namespace

void TapCapture::Start(size_t capacity, size_t snap_length) {
  capacity_ = capacity;
  snap_length_ = snap_length;
  dropped_ = 0;
  records_ = {};
}

void TapCapture::Add(const std::vector<iovec>& segments, size_t skip, size_t length) {
  size_t captured = std::min(length, snap_length_);
  if (sizeof(PcapRecord) + captured > capacity_ - records_.size()) {
    dropped_++;
    return;
  }
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  PcapRecord record = {static_cast<uint32_t>(now.tv_sec), static_cast<uint32_t>(now.tv_nsec),
                       static_cast<uint32_t>(captured), static_cast<uint32_t>(length)};
  size_t at = records_.size();
  records_.resize(at + sizeof record + captured);
  std::memcpy(&records_[at], &record, sizeof record);
  at += sizeof record;
  for (const iovec& segment : segments) {
    if (captured == 0) break;
    if (skip >= segment.iov_len) {
      skip -= segment.iov_len;
      continue;
    }
    size_t count = std::min(captured, segment.iov_len - skip);
    std::memcpy(&records_[at], static_cast<const uint8_t*>(segment.iov_base) + skip, count);
    at += count;
    captured -= count;
    skip = 0;
  }
}

std::vector<uint8_t> TapCapture::Take() { return std::exchange(records_, {}); }

}  // namespace node_kvm
