// A disk request through whatever system calls give for it, and the places in guest memory that it
// names.
#include <vector>

#include "input.h"
#include "native/address_space.h"
#include "native/block_request.h"

using node_kvm::AddressSpaceSnapshot;
using node_kvm::BlockRequest;

namespace {

uint64_t Left(BlockRequest* request) {
  uint64_t sum = 0;
  for (size_t i = request->first; i < request->segments.size(); i++) {
    sum += request->segments[i].iov_len;
  }
  return sum;
}

void Advance(Input* input) {
  std::vector<std::vector<uint8_t>> pieces(1 + input->Take<uint8_t>() % 16);
  BlockRequest request;
  request.op = static_cast<BlockRequest::Op>(input->Take<uint8_t>() % 5);
  request.flag = (input->Take<uint8_t>() & 1) != 0;
  request.offset = input->Take<uint32_t>();
  for (auto& piece : pieces) {
    piece.resize(1 + input->Take<uint8_t>());
    request.segments.push_back({piece.data(), piece.size()});
    request.length += piece.size();
  }
  const uint64_t end = request.offset + request.length;
  for (int calls = 0; calls < 5000; calls++) {
    // The kernel moves no more than it was given.
    int64_t result = input->Take<int8_t>();
    if (result >= 0 && request.transfers()) result = result * 3 % (Left(&request) + 1);
    int error = request.Advance(result);
    if (error != BlockRequest::kMore) return;
    if (!request.transfers()) continue;
    CHECK(request.first < request.segments.size());
    CHECK(Left(&request) == request.length && request.length > 0);
    CHECK(request.offset + request.length == end);
    CHECK(request.left_count() >= 1 && request.left()->iov_len > 0);
    // The bytes are there: AddressSanitizer tells if not.
    static_cast<uint8_t*>(request.left()->iov_base)[request.left()->iov_len - 1] = 1;
  }
  CHECK(!"a request that never ends");
}

void Resolve(Input* input) {
  std::vector<std::vector<uint8_t>> memory(input->Take<uint8_t>() % 4);
  std::vector<AddressSpaceSnapshot::Range> ranges;
  uint64_t next = 0;
  for (auto& bytes : memory) {
    bytes.resize(1 + input->Take<uint8_t>());
    uint64_t address = next + (input->Take<uint64_t>() >> 8);
    if (address > UINT64_MAX - bytes.size() || address < next) break;
    ranges.push_back({address, bytes.size(), bytes.data(), nullptr});
    next = address + bytes.size();
  }
  AddressSpaceSnapshot snapshot(std::move(ranges));
  while (!input->done()) {
    uint64_t address = input->Take<uint64_t>();
    if (!snapshot.ranges().empty() && input->Take<uint8_t>() > 64) {
      address =
          snapshot.ranges()[address % snapshot.ranges().size()].guest_address + (address >> 56) - 2;
    }
    uint64_t length = input->Take<uint64_t>() >> (input->Take<uint8_t>() % 64);
    void* host = nullptr;
    if (!snapshot.Resolve(address, length, &host)) continue;
    if (length > 0) static_cast<volatile uint8_t*>(host)[length - 1] = 1;
    for (const auto& range : snapshot.ranges()) {
      if (address >= range.guest_address && address - range.guest_address < range.size) {
        CHECK(host == range.host + (address - range.guest_address));
        CHECK(length <= range.size - (address - range.guest_address));
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  if (input.Take<uint8_t>() & 1) {
    Advance(&input);
  } else {
    Resolve(&input);
  }
  return 0;
}
