#include "immediate_io.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

namespace node_kvm {
namespace {

// What one request, and one batch, may copy on the event loop's thread.
constexpr uint64_t kRequestMax = 128 << 10;
constexpr uint64_t kBatchMax = 2 << 20;
constexpr uint32_t kSkipMax = 64;

}  // namespace

ImmediateIo::ImmediateIo(int fd) : fd_(fd) {
  struct statfs file_system = {};
  bool direct = (fcntl(fd, F_GETFL) & O_DIRECT) != 0;
  if (direct || fstatfs(fd, &file_system) != 0) return;
  in_memory_ = file_system.f_type == TMPFS_MAGIC || file_system.f_type == RAMFS_MAGIC;
  nowait_ = !in_memory_;
}

void ImmediateIo::BeginBatch() { left_ = kBatchMax; }

// A read from the page cache takes less time than handing it over; io_uring itself has no such path
// for tmpfs.
int ImmediateIo::Try(BlockRequest* request) {
  const bool read = request->op == BlockRequest::kRead;
  if (request->length > kRequestMax || request->length > left_) {
    return BlockRequest::kMore;
  }
  const auto offset = static_cast<off_t>(request->offset);
  ssize_t result = -1;
  if (in_memory_ && request->transfers()) {
    result = read ? preadv(fd_, request->left(), request->left_count(), offset)
                  : pwritev(fd_, request->left(), request->left_count(), offset);
  } else if (nowait_ && read) {
    if (skip_ > 0) {
      skip_--;
      return BlockRequest::kMore;
    }
    result = preadv2(fd_, request->left(), request->left_count(), offset, RWF_NOWAIT);
    if (result < 0 && errno == EOPNOTSUPP) {
      nowait_ = false;
      return BlockRequest::kMore;
    }
    bool missed = result < static_cast<ssize_t>(request->length);
    misses_ = missed ? std::min(misses_ + 1, 16u) : 0;
    if (missed) skip_ = std::min(1u << misses_, kSkipMax) - 1;
  } else {
    return BlockRequest::kMore;
  }
  left_ -= request->length;
  return request->Advance(result < 0 ? -errno : result);
}

}  // namespace node_kvm
