#pragma once

#include <linux/io_uring.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "block_request.h"
#include "support/unique_fd.h"

namespace node_kvm {

// One file's requests by io_uring, without liburing. Everything happens on the thread that made it.
class IoRing : public BlockIo {
 public:
  // For at most `depth` requests in flight on `fd`, which is registered with the ring if `fixed`:
  // its open file then outlives the ring by a little. nullptr with the errno where io_uring is
  // absent or refused.
  static std::unique_ptr<IoRing> Create(int fd, bool fixed, unsigned depth, int* error);
  ~IoRing() override;

  void Add(BlockRequest* request) override { pending_.push_back(request); }
  void Submit() override;
  void Reap(std::vector<Done>* done) override;
  int event_fd() const override { return event_fd_.get(); }
  void ClearEvent() override;
  void Wait(int milliseconds) override;

 private:
  IoRing() = default;
  int Setup(int fd, bool fixed, unsigned depth);
  bool Fill(BlockRequest* request);
  // Tells the kernel not to raise the eventfd for completions that we are about to find ourselves.
  void MuteEvent(bool mute);

  UniqueFd ring_fd_;
  UniqueFd event_fd_;
  int file_fd_ = -1;
  bool fixed_file_ = false;
  void* rings_ = nullptr;
  size_t rings_size_ = 0;
  io_uring_sqe* sqes_ = nullptr;
  size_t sqes_size_ = 0;

  uint32_t* sq_head_ = nullptr;
  uint32_t* sq_tail_ = nullptr;
  uint32_t* sq_array_ = nullptr;
  uint32_t sq_mask_ = 0;
  uint32_t sq_entries_ = 0;
  uint32_t* cq_head_ = nullptr;
  uint32_t* cq_tail_ = nullptr;
  uint32_t* cq_flags_ = nullptr;
  io_uring_cqe* cqes_ = nullptr;
  uint32_t cq_mask_ = 0;

  std::deque<BlockRequest*> pending_;  // not yet in the submission queue
  uint32_t unsubmitted_ = 0;           // in it, not yet taken by the kernel
};

}  // namespace node_kvm
