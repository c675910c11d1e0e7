// Frames between a TAP and guest memory: what tap.cc sets up.
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "support/args.h"
#include "support/errors.h"
#include "tap.h"

namespace node_kvm {
namespace {

// Virtio 1.2, 5.1.6. (<linux/virtio_net.h> is no C++.)
struct VirtioNetHeader {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;
  uint16_t gso_size;
  uint16_t csum_start;
  uint16_t csum_offset;
  uint16_t num_buffers;
};
constexpr uint8_t VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
constexpr uint8_t VIRTIO_NET_HDR_GSO_NONE = 0;
constexpr uint8_t VIRTIO_NET_HDR_GSO_ECN = 0x80;

constexpr size_t kHeader = Tap::kHeaderSize;
static_assert(kHeader == sizeof(VirtioNetHeader));
constexpr size_t kEthernetHeader = 14;
constexpr size_t kSegmentsMax = 1024;  // IOV_MAX

// Copies between the start of a run of segments and `bytes`, which the run is at least as long as.
void Gather(const std::vector<iovec>& segments, uint8_t* bytes, size_t size) {
  for (size_t i = 0; size > 0 && i < segments.size(); i++) {
    size_t count = std::min(size, segments[i].iov_len);
    std::memcpy(bytes, segments[i].iov_base, count);
    bytes += count;
    size -= count;
  }
}

void Scatter(const std::vector<iovec>& segments, size_t offset, const uint8_t* bytes, size_t size) {
  for (size_t i = 0; size > 0 && i < segments.size(); i++) {
    if (offset >= segments[i].iov_len) {
      offset -= segments[i].iov_len;
      continue;
    }
    size_t count = std::min(size, segments[i].iov_len - offset);
    std::memcpy(static_cast<uint8_t*>(segments[i].iov_base) + offset, bytes, count);
    bytes += count;
    size -= count;
    offset = 0;
  }
}

}  // namespace

// False for a batch that breaks the form. `*error` is EFAULT for memory outside the address space.
bool Tap::ParseSegments(const double* words, size_t* at, size_t end, uint32_t* tag,
                        std::vector<iovec>* segments, size_t* length, int* error) {
  uint64_t head[2] = {};
  if (end - *at < 2 || !ToInteger(words[*at], &head[0]) || !ToInteger(words[*at + 1], &head[1])) {
    return false;
  }
  if (head[0] > INT32_MAX || head[1] > kSegmentsMax || head[1] > (end - *at - 2) / 2) return false;
  *tag = static_cast<uint32_t>(head[0]);
  *length = 0;
  *error = 0;
  segments->clear();
  const double* pair = words + *at + 2;
  *at += 2 + 2 * head[1];
  for (uint64_t i = 0; i < head[1]; i++, pair += 2) {
    uint64_t address = 0;
    uint64_t size = 0;
    void* host = nullptr;
    if (!ToInteger(pair[0], &address) || !ToInteger(pair[1], &size) ||
        !memory_->Resolve(address, size, &host)) {
      *error = EFAULT;
      continue;
    }
    segments->push_back({host, static_cast<size_t>(size)});
    *length += size;
  }
  return true;
}

bool Tap::BeginResults(napi_env env) {
  result_count_ = 0;
  if (memory_) return true;
  ThrowVmmError(env, "ERR_STATE", "the TAP is not attached");
  return false;
}

void Tap::Report(uint32_t tag, int64_t result) {
  if (2 * result_count_ + 2 > results_size_) return;
  results_[2 * result_count_] = static_cast<int32_t>(tag);
  results_[2 * result_count_ + 1] = static_cast<int32_t>(result);
  result_count_++;
}

// transmit(words): sends each frame of the batch; the results are 0 or an errno.
napi_value Tap::Transmit(napi_env env, const Args& args) {
  uint64_t words = 0;
  if (!BeginResults(env) || !GetInteger(env, args[0], "words", &words, batch_size_)) return nullptr;
  for (size_t at = 0; at < words;) {
    uint32_t tag = 0;
    size_t length = 0;
    int error = 0;
    if (!ParseSegments(batch_, &at, words, &tag, &scratch_, &length, &error)) {
      return ThrowVmmError(env, "ERR_STATE", "malformed frame batch");
    }
    Report(tag, error != 0 ? error : Send(&scratch_, length));
  }
  Tell();
  return MakeInt32(env, static_cast<int32_t>(result_count_));
}

int Tap::Send(std::vector<iovec>* segments, size_t length) {
  if (length <= kHeader || length > kHeader + Tap::kFrameMax) return EMSGSIZE;
  size_t frame = length - kHeader;
  // The header is copied once and checked in the copy: the guest may change its own meanwhile.
  VirtioNetHeader header = {};
  Gather(*segments, reinterpret_cast<uint8_t*>(&header), kHeader);
  header.num_buffers = 0;
  if (!tx_checksum_) {
    header = {};  // 5.1.6.2.1: without VIRTIO_NET_F_CSUM there is nothing in it for us
  } else {
    header.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
    uint32_t gso_type = header.gso_type & ~uint32_t{VIRTIO_NET_HDR_GSO_ECN};
    if (gso_type != VIRTIO_NET_HDR_GSO_NONE &&
        (gso_type > 31 || (tx_gso_types_ >> gso_type & 1) == 0 || header.gso_size == 0)) {
      return EINVAL;
    }
    if (header.flags != 0 && size_t{header.csum_start} + header.csum_offset + 2 > frame)
      return EINVAL;
    if (header.hdr_len > frame) header.hdr_len = 0;  // a hint, and none that helps
  }

  size_t skip = kHeader;
  size_t first = 0;
  while (skip >= (*segments)[first].iov_len) skip -= (*segments)[first++].iov_len;
  (*segments)[first].iov_base = static_cast<uint8_t*>((*segments)[first].iov_base) + skip;
  (*segments)[first].iov_len -= skip;
  if (first > 0) {
    first--;
  } else {
    segments->insert(segments->begin(), iovec{});
  }
  (*segments)[first] = {&header, kHeader};
  if (segments->size() - first > kSegmentsMax) return EMSGSIZE;
  ssize_t sent = 0;
  do {
    sent = writev(fd_.get(), segments->data() + first, static_cast<int>(segments->size() - first));
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) {
    int error = errno;
    Note(error);
    return error;
  }
  if (capture_.on()) {
    segments->erase(segments->begin(), segments->begin() + static_cast<ptrdiff_t>(first));
    capture_.Add(*segments, kHeader, frame);
  }
  return 0;
}

// post(words): receive buffers, used in order. Those that can hold no frame come back at once, as
// results of 0 bytes.
napi_value Tap::Post(napi_env env, const Args& args) {
  uint64_t words = 0;
  if (!BeginResults(env) || !GetInteger(env, args[0], "words", &words, batch_size_)) return nullptr;
  for (size_t at = 0; at < words;) {
    Buffer buffer;
    if (!spare_.empty()) {
      buffer = std::move(spare_.back());
      spare_.pop_back();
    }
    int error = 0;
    if (!ParseSegments(batch_, &at, words, &buffer.tag, &buffer.segments, &buffer.length, &error)) {
      return ThrowVmmError(env, "ERR_STATE", "malformed buffer batch");
    }
    size_t least = mergeable_ ? kHeader : kHeader + kEthernetHeader;
    if (error != 0 || buffer.length < least) {
      Report(buffer.tag, 0);
      spare_.push_back(std::move(buffer));
    } else {
      posted_.push_back(std::move(buffer));
    }
  }
  Tell();
  return MakeInt32(env, static_cast<int32_t>(result_count_));
}

// receive(budget, bytes): up to that many frames into the posted buffers, and no more once they are
// so long together; the results are bytes written.
napi_value Tap::Receive(napi_env env, const Args& args) {
  uint32_t budget = 0;
  uint32_t bytes = 0;
  if (!BeginResults(env) || !GetUint32(env, args[0], "budget", &budget) ||
      !GetUint32(env, args[1], "bytes", &bytes)) {
    return nullptr;
  }
  received_bytes_ = 0;
  for (; budget > 0 && received_bytes_ < bytes && !posted_.empty(); budget--) {
    // A frame may take every buffer that is posted: there must be room to report that.
    if (2 * (result_count_ + posted_.size()) > results_size_) break;
    if (ReceiveFrame() < 0) break;
  }
  WatchIfUseful(true);
  Tell();
  return MakeInt32(env, static_cast<int32_t>(result_count_));
}

size_t Tap::GatherBuffers(size_t* room) {
  scratch_.clear();
  *room = 0;
  size_t count = 0;
  do {
    const Buffer& buffer = posted_[count++];
    scratch_.insert(scratch_.end(), buffer.segments.begin(), buffer.segments.end());
    *room += buffer.length;
  } while (mergeable_ && *room < kHeader + Tap::kFrameMax && count < posted_.size() &&
           scratch_.size() + posted_[count].segments.size() < kSegmentsMax);
  for (; scratch_.size() >= kSegmentsMax; scratch_.pop_back()) *room -= scratch_.back().iov_len;
  return count;
}

int Tap::ReadFrame(size_t room, size_t* length) {
  // The kernel cuts a frame to the room it gets without a word: the overflow takes the rest.
  scratch_.push_back({overflow_.data(), overflow_.size()});
  ssize_t got = 0;
  do {
    got = readv(fd_.get(), scratch_.data(), static_cast<int>(scratch_.size()));
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    if (errno != EAGAIN) {  // EIO while the interface is down: the poll would spin on it
      receive_errors_++;
      receive_error_ = errno;
      Note(errno);
    }
    return -1;
  }
  *length = static_cast<size_t>(got);
  if (*length < kHeader) return 0;
  uint8_t head[kHeader + TapFilter::kLook] = {};
  Gather(scratch_, head, std::min(*length, sizeof head));
  if (!filter_.Wanted(head + kHeader, *length - kHeader,
                      head[offsetof(VirtioNetHeader, gso_type)] != VIRTIO_NET_HDR_GSO_NONE)) {
    filtered_++;
    return 0;
  }
  if (*length <= room) {
    scratch_.pop_back();
    return 1;
  }
  if (!mergeable_) {
    oversized_++;
    return 0;
  }
  waiting_.resize(*length);
  Gather(scratch_, waiting_.data(), *length);
  return -1;
}

int Tap::ReceiveFrame() {
  size_t room = 0;
  size_t length = waiting_.size();
  size_t count = GatherBuffers(&room);
  if (waiting_.empty()) {
    if (int result = ReadFrame(room, &length); result <= 0) return result;
  } else {
    if (length > room) return -1;
    Scatter(scratch_, 0, waiting_.data(), length);
    waiting_.clear();
  }

  received_bytes_ += length;
  size_t used = 0;
  for (size_t left = length; used < count && (left > 0 || used == 0); used++) {
    left -= std::min(left, posted_[used].length);
  }
  if (capture_.on()) capture_.Add(scratch_, kHeader, length - kHeader);
  if (!rx_checksum_) {
    uint8_t none = 0;
    Scatter(scratch_, offsetof(VirtioNetHeader, flags), &none, 1);
  }
  auto buffers = static_cast<uint16_t>(used);
  Scatter(scratch_, offsetof(VirtioNetHeader, num_buffers), reinterpret_cast<uint8_t*>(&buffers),
          sizeof buffers);
  for (size_t i = 0; i < used; i++) {
    Buffer buffer = std::move(posted_.front());
    posted_.pop_front();
    size_t part = std::min(length, buffer.length);
    length -= part;
    Report(buffer.tag, static_cast<int64_t>(part));
    spare_.push_back(std::move(buffer));
  }
  return static_cast<int>(used);
}

// giveUp(): drops the frame that waits.
napi_value Tap::GiveUp(napi_env, const Args&) {
  if (!waiting_.empty()) oversized_++;
  waiting_.clear();
  Tell();
  return nullptr;
}

}  // namespace node_kvm
