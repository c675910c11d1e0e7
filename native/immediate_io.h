#pragma once

#include <cstdint>

#include "block_request.h"

namespace node_kvm {

// Requests of a file that take less time than to hand them over: done on the caller's thread, which
// they do not keep waiting for a disk.
class ImmediateIo {
 public:
  // Does nothing.
  ImmediateIo() = default;
  // The descriptor is the caller's, and stays open.
  explicit ImmediateIo(int fd);

  // Bounds what is done until the next call.
  void BeginBatch();
  // kMore if somebody else has to take the request on from there, else 0 or an errno.
  int Try(BlockRequest* request);

 private:
  int fd_ = -1;
  bool in_memory_ = false;  // tmpfs: nothing to wait for
  bool nowait_ = false;     // RWF_NOWAIT reads are worth a try
  uint64_t left_ = 0;       // bytes, of this batch
  uint32_t misses_ = 0;     // RWF_NOWAIT reads in a row that found nothing in the page cache
  uint32_t skip_ = 0;       // reads to leave to others before the next try
};

}  // namespace node_kvm
