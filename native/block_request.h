#pragma once

#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace node_kvm {

// One request of a disk, its memory already resolved. Pooled by tag: the engine that has it owns it
// until it is done.
struct BlockRequest {
  enum Op : uint32_t { kRead = 0, kWrite = 1, kFlush = 2, kDiscard = 3, kWriteZeroes = 4 };
  // kWrite: done only when durable. kWriteZeroes: the space may be given back.
  static constexpr uint32_t kFlag = 0x100;

  Op op = kRead;
  bool flag = false;
  uint32_t tag = 0;
  int tries = 0;        // EAGAIN and EINTR so far
  uint64_t offset = 0;  // bytes, of what is left
  uint64_t length = 0;  // bytes, of what is left
  std::vector<iovec> segments;
  size_t first = 0;  // of what is left

  bool transfers() const { return op == kRead || op == kWrite; }
  iovec* left() { return segments.data() + first; }
  // As many segments as one system call takes: IOV_MAX.
  int left_count() const {
    size_t count = segments.size() - first;
    return static_cast<int>(count < 1024 ? count : 1024);
  }

  static constexpr int kMore = -1;
  // Takes the result of one system call, bytes or a negative errno: kMore if there is more to do,
  // else 0 or an errno.
  int Advance(int64_t result);
};

// What a file's requests are given to. Belongs to one thread, but for what an implementation does
// inside.
class BlockIo {
 public:
  struct Done {
    BlockRequest* request;
    int error;  // 0 or a positive errno
  };

  virtual ~BlockIo() = default;
  // Takes a request into the batch; Submit() starts the batch.
  virtual void Add(BlockRequest* request) = 0;
  virtual void Submit() = 0;
  // Moves what is done to the end of `done`.
  virtual void Reap(std::vector<Done>* done) = 0;
  // Becomes readable when Reap() has something to find and the thread was not told otherwise.
  virtual int event_fd() const = 0;
  virtual void ClearEvent() = 0;
  // Waits until Reap() may find something, or the time is up.
  virtual void Wait(int milliseconds) = 0;
};

inline int BlockRequest::Advance(int64_t result) {
  if (result == -EINTR || (result == -EAGAIN && ++tries < 1000)) return kMore;
  if (result == -EOPNOTSUPP && op == kWriteZeroes && !flag) {
    flag = true;  // tmpfs among others zeroes by punching holes only; the zeroes count, the space
                  // is second to them
    return kMore;
  }
  if (result < 0) return static_cast<int>(-result);
  if (!transfers()) return 0;
  if (result == 0)
    return EIO;  // the file has become shorter than the disk, or full without saying so
  auto moved = static_cast<uint64_t>(result);
  if (moved >= length) return 0;
  offset += moved;
  length -= moved;
  while (moved >= segments[first].iov_len) moved -= segments[first++].iov_len;
  segments[first].iov_base = static_cast<uint8_t*>(segments[first].iov_base) + moved;
  segments[first].iov_len -= moved;
  return kMore;
}

}  // namespace node_kvm
