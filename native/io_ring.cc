#include "io_ring.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace node_kvm {
namespace {

int RingSetup(unsigned entries, io_uring_params* params) {
  return static_cast<int>(syscall(__NR_io_uring_setup, entries, params));
}

int RingEnter(int fd, unsigned submit, unsigned wait, unsigned flags) {
  return static_cast<int>(syscall(__NR_io_uring_enter, fd, submit, wait, flags, nullptr, 0));
}

int RingRegister(int fd, unsigned opcode, const void* argument, unsigned count) {
  return static_cast<int>(syscall(__NR_io_uring_register, fd, opcode, argument, count));
}

// The rings' indices are shared with the kernel, on other CPUs too.
uint32_t LoadAcquire(uint32_t* at) {
  return std::atomic_ref<uint32_t>(*at).load(std::memory_order_acquire);
}
void StoreRelease(uint32_t* at, uint32_t value) {
  std::atomic_ref<uint32_t>(*at).store(value, std::memory_order_release);
}

template <typename T>
T* At(void* base, uint32_t offset) {
  return reinterpret_cast<T*>(static_cast<uint8_t*>(base) + offset);
}

}  // namespace

std::unique_ptr<IoRing> IoRing::Create(int fd, bool fixed, unsigned depth, int* error) {
  std::unique_ptr<IoRing> ring(new IoRing);
  *error = ring->Setup(fd, fixed, depth);
  return *error == 0 ? std::move(ring) : nullptr;
}

int IoRing::Setup(int fd, bool fixed, unsigned depth) {
  // A completion queue with room for everything in flight never overflows.
  io_uring_params params = {};
  params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL;
  unsigned entries = std::clamp(depth, 2u, 256u);
  params.cq_entries = std::max(2 * entries, depth);
  ring_fd_ = UniqueFd(RingSetup(entries, &params));
  if (!ring_fd_ && errno == EINVAL) {  // before Linux 5.18
    params = {};
    params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = std::max(2 * entries, depth);
    ring_fd_ = UniqueFd(RingSetup(entries, &params));
  }
  if (!ring_fd_) return errno;
  constexpr uint32_t kNeeded = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP;
  if ((params.features & kNeeded) != kNeeded || params.cq_entries < depth) return ENOSYS;

  rings_size_ = std::max(params.sq_off.array + params.sq_entries * sizeof(uint32_t),
                         params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
  void* rings = mmap(nullptr, rings_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                     ring_fd_.get(), IORING_OFF_SQ_RING);
  if (rings == MAP_FAILED) return errno;
  rings_ = rings;
  sqes_size_ = params.sq_entries * sizeof(io_uring_sqe);
  void* sqes = mmap(nullptr, sqes_size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                    ring_fd_.get(), IORING_OFF_SQES);
  if (sqes == MAP_FAILED) return errno;
  sqes_ = static_cast<io_uring_sqe*>(sqes);

  sq_head_ = At<uint32_t>(rings, params.sq_off.head);
  sq_tail_ = At<uint32_t>(rings, params.sq_off.tail);
  sq_array_ = At<uint32_t>(rings, params.sq_off.array);
  sq_mask_ = *At<uint32_t>(rings, params.sq_off.ring_mask);
  sq_entries_ = params.sq_entries;
  cq_head_ = At<uint32_t>(rings, params.cq_off.head);
  cq_tail_ = At<uint32_t>(rings, params.cq_off.tail);
  cq_mask_ = *At<uint32_t>(rings, params.cq_off.ring_mask);
  cqes_ = At<io_uring_cqe>(rings, params.cq_off.cqes);
  // Absent before Linux 5.8: then there is nothing to mute, and spare wake-ups find nothing.
  if (params.cq_off.flags != 0) cq_flags_ = At<uint32_t>(rings, params.cq_off.flags);

  event_fd_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event_fd_) return errno;
  int event = event_fd_.get();
  // Not the _ASYNC form: it stalls when a request that began in io-wq ends elsewhere.
  if (RingRegister(ring_fd_.get(), IORING_REGISTER_EVENTFD, &event, 1) < 0) return errno;
  file_fd_ = fd;
  fixed_file_ = fixed && RingRegister(ring_fd_.get(), IORING_REGISTER_FILES, &fd, 1) == 0;
  return 0;
}

IoRing::~IoRing() {
  // The kernel takes a ring apart some time after its last descriptor is closed; a file system
  // could not be unmounted until then.
  if (fixed_file_) RingRegister(ring_fd_.get(), IORING_UNREGISTER_FILES, nullptr, 0);
  if (sqes_) munmap(sqes_, sqes_size_);
  if (rings_) munmap(rings_, rings_size_);
}

void IoRing::MuteEvent(bool mute) {
  if (!cq_flags_) return;
  std::atomic_ref<uint32_t> flags(*cq_flags_);
  flags.store(mute ? IORING_CQ_EVENTFD_DISABLED : 0, std::memory_order_seq_cst);
}

// False if the submission queue is full.
bool IoRing::Fill(BlockRequest* request) {
  uint32_t tail = *sq_tail_;
  if (tail - LoadAcquire(sq_head_) >= sq_entries_) return false;
  uint32_t slot = tail & sq_mask_;
  io_uring_sqe* sqe = &sqes_[slot];
  std::memset(sqe, 0, sizeof *sqe);
  sqe->fd = fixed_file_ ? 0 : file_fd_;
  sqe->flags = fixed_file_ ? IOSQE_FIXED_FILE : 0;
  sqe->off = request->offset;
  sqe->user_data = reinterpret_cast<uintptr_t>(request);
  bool reads = request->op == BlockRequest::kRead;
  switch (request->op) {
    case BlockRequest::kRead:
    case BlockRequest::kWrite:
      if (request->left_count() == 1) {
        sqe->opcode = reads ? IORING_OP_READ : IORING_OP_WRITE;
        sqe->addr = reinterpret_cast<uintptr_t>(request->left()->iov_base);
        sqe->len = static_cast<uint32_t>(std::min<size_t>(request->left()->iov_len, 1u << 30));
      } else {
        sqe->opcode = reads ? IORING_OP_READV : IORING_OP_WRITEV;
        sqe->addr = reinterpret_cast<uintptr_t>(request->left());
        sqe->len = static_cast<uint32_t>(request->left_count());
      }
      if (!reads && request->flag) sqe->rw_flags = RWF_DSYNC;
      break;
    case BlockRequest::kFlush:
      sqe->opcode = IORING_OP_FSYNC;
      sqe->fsync_flags = IORING_FSYNC_DATASYNC;
      sqe->off = 0;
      break;
    case BlockRequest::kDiscard:
    case BlockRequest::kWriteZeroes:
      sqe->opcode = IORING_OP_FALLOCATE;
      sqe->addr = request->length;
      sqe->len = request->op == BlockRequest::kDiscard || request->flag
                     ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                     : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
      break;
  }
  sq_array_[slot] = slot;
  StoreRelease(sq_tail_, tail + 1);
  unsubmitted_++;
  return true;
}

void IoRing::Submit() {
  MuteEvent(true);
  for (;;) {
    while (!pending_.empty() && Fill(pending_.front())) pending_.pop_front();
    if (unsubmitted_ == 0) return;
    int taken = RingEnter(ring_fd_.get(), unsubmitted_, 0, 0);
    if (taken < 0 && errno == EINTR) continue;
    // EAGAIN and EBUSY: the kernel is short of something; the rest goes with the next batch or
    // completion.
    if (taken <= 0) return;
    unsubmitted_ -= std::min(unsubmitted_, static_cast<uint32_t>(taken));
    if (unsubmitted_ == 0 && pending_.empty()) return;
  }
}

void IoRing::Reap(std::vector<Done>* done) {
  auto take = [&] {
    uint32_t head = *cq_head_;
    uint32_t tail = LoadAcquire(cq_tail_);
    for (; head != tail; head++) {
      const io_uring_cqe& cqe = cqes_[head & cq_mask_];
      auto* request = reinterpret_cast<BlockRequest*>(cqe.user_data);
      int error = request->Advance(cqe.res);
      if (error == BlockRequest::kMore) {
        pending_.push_back(request);
      } else {
        done->push_back({request, error});
      }
    }
    StoreRelease(cq_head_, head);
  };
  MuteEvent(true);
  take();
  if (!pending_.empty() || unsubmitted_ > 0) {
    Submit();
    take();
  }
  MuteEvent(false);
  // What came in while the event was mute would wake nobody: look once more.
  take();
  if (unsubmitted_ > 0 || !pending_.empty()) {
    uint64_t one = 1;
    [[maybe_unused]] ssize_t put = write(event_fd_.get(), &one, sizeof one);
  }
}

void IoRing::ClearEvent() {
  uint64_t count = 0;
  [[maybe_unused]] ssize_t got = read(event_fd_.get(), &count, sizeof count);
}

void IoRing::Wait(int milliseconds) {
  // Polling the ring's own descriptor also lets the kernel run what it has put off for this thread.
  pollfd poll_fd = {ring_fd_.get(), POLLIN, 0};
  poll(&poll_fd, 1, milliseconds);
}

}  // namespace node_kvm
