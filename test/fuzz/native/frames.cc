// What is looked at of a guest's frames: the filter that its driver sets, and the capture.
#include <vector>

#include "input.h"
#include "native/tap_capture.h"
#include "native/tap_filter.h"

using node_kvm::TapCapture;
using node_kvm::TapFilter;

namespace {

constexpr size_t kRecord = 16;

void Filter(Input* input) {
  TapFilter filter;
  std::vector<uint64_t> macs(input->Take<uint8_t>() % 8);
  for (uint64_t& mac : macs) mac = input->Take<uint64_t>() >> 16;
  std::vector<uint8_t> vlans(input->Take<uint8_t>() % 3 * 256);
  for (size_t i = 0; i < vlans.size(); i += 7) vlans[i] = input->Take<uint8_t>();
  filter.Set(input->Take<uint8_t>(), macs, vlans);
  filter.SetMtu(input->Take<uint16_t>());
  while (!input->done()) {
    size_t length = input->Take<uint16_t>();
    // On the heap, so that a byte past the end of a short frame is one too many.
    std::vector<uint8_t> head(length < TapFilter::kLook ? length : TapFilter::kLook);
    input->Bytes(head.data(), head.size());
    filter.Wanted(head.data(), length, (input->Take<uint8_t>() & 1) != 0);
  }
}

void Capture(Input* input) {
  TapCapture capture;
  size_t capacity = input->Take<uint16_t>();
  size_t snap_length = input->Take<uint16_t>();
  capture.Start(capacity, snap_length);
  while (!input->done()) {
    std::vector<std::vector<uint8_t>> pieces(input->Take<uint8_t>() % 9);
    std::vector<iovec> segments;
    size_t total = 0;
    for (auto& piece : pieces) {
      piece.resize(input->Take<uint8_t>());
      total += piece.size();
      segments.push_back({piece.data(), piece.size()});
    }
    // As the callers have it: what is kept lies in the segments.
    size_t skip = total == 0 ? 0 : input->Take<uint8_t>() % total;
    size_t length = total - skip == 0 ? 0 : input->Take<uint16_t>() % (total - skip + 1);
    size_t before = capture.size();
    uint32_t dropped = capture.dropped();
    capture.Add(segments, skip, length);
    size_t kept = length < snap_length ? length : snap_length;
    if (capture.dropped() == dropped) CHECK(capture.size() == before + kRecord + kept);
    CHECK(capture.size() <= capacity);
    if (input->Take<uint8_t>() == 0) CHECK(capture.Take().size() <= capacity);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  if (input.Take<uint8_t>() & 1) {
    Filter(&input);
  } else {
    Capture(&input);
  }
  return 0;
}
