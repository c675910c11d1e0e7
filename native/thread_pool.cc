#include "thread_pool.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>

namespace node_kvm {

std::unique_ptr<ThreadPool> ThreadPool::Create(int fd, int* error) {
  std::unique_ptr<ThreadPool> pool(new ThreadPool);
  pool->fd_ = fd;
  pool->event_fd_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  *error = pool->event_fd_ ? 0 : errno;
  return *error == 0 ? std::move(pool) : nullptr;
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::Submit() {
  if (batch_.empty()) return;
  size_t wanted = 0;
  {
    std::lock_guard lock(mutex_);
    queue_.insert(queue_.end(), batch_.begin(), batch_.end());
    wanted = queue_.size() > idle_ ? queue_.size() - idle_ : 0;
  }
  batch_.clear();
  // Signals belong to Node's own thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (; wanted > 0 && threads_.size() < kThreads; wanted--) {
    threads_.emplace_back([this] { Work(); });
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  work_.notify_all();
}

void ThreadPool::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    idle_++;
    work_.wait(lock, [this] { return ending_ || !queue_.empty(); });
    idle_--;
    if (queue_.empty()) return;
    BlockRequest* request = queue_.front();
    queue_.pop_front();
    lock.unlock();
    int error = Serve(request);
    lock.lock();
    done_.push_back({request, error});
    if (done_.size() == 1) {
      uint64_t one = 1;
      [[maybe_unused]] ssize_t put = write(event_fd_.get(), &one, sizeof one);
      result_.notify_all();
    }
  }
}

int ThreadPool::Serve(BlockRequest* request) {
  int error = BlockRequest::kMore;
  while (error == BlockRequest::kMore) {
    int64_t result = 0;
    auto offset = static_cast<off_t>(request->offset);
    switch (request->op) {
      case BlockRequest::kRead:
        result = preadv(fd_, request->left(), request->left_count(), offset);
        break;
      case BlockRequest::kWrite:
        result = pwritev2(fd_, request->left(), request->left_count(), offset,
                          request->flag ? RWF_DSYNC : 0);
        break;
      case BlockRequest::kFlush:
        result = fdatasync(fd_);
        break;
      case BlockRequest::kDiscard:
      case BlockRequest::kWriteZeroes: {
        bool punch = request->op == BlockRequest::kDiscard || request->flag;
        int mode = (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
        result = fallocate(fd_, mode, offset, static_cast<off_t>(request->length));
        break;
      }
    }
    error = request->Advance(result < 0 ? -errno : result);
  }
  return error;
}

void ThreadPool::Reap(std::vector<Done>* done) {
  std::lock_guard lock(mutex_);
  done->insert(done->end(), done_.begin(), done_.end());
  done_.clear();
}

void ThreadPool::ClearEvent() {
  uint64_t count = 0;
  [[maybe_unused]] ssize_t got = read(event_fd_.get(), &count, sizeof count);
}

void ThreadPool::Wait(int milliseconds) {
  std::unique_lock lock(mutex_);
  result_.wait_for(lock, std::chrono::milliseconds(milliseconds),
                   [this] { return !done_.empty(); });
}

}  // namespace node_kvm
