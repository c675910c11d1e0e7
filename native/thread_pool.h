#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "block_request.h"
#include "support/unique_fd.h"

namespace node_kvm {

// One file's requests by blocking system calls on threads of its own, so that a file that hangs
// delays no other. Threads start as they are needed and end with the object, which must have
// nothing in flight.
class ThreadPool : public BlockIo {
 public:
  static constexpr unsigned kThreads = 4;

  static std::unique_ptr<ThreadPool> Create(int fd, int* error);
  ~ThreadPool() override;

  void Add(BlockRequest* request) override { batch_.push_back(request); }
  void Submit() override;
  void Reap(std::vector<Done>* done) override;
  int event_fd() const override { return event_fd_.get(); }
  void ClearEvent() override;
  void Wait(int milliseconds) override;

 private:
  ThreadPool() = default;
  void Work();
  int Serve(BlockRequest* request);

  int fd_ = -1;
  UniqueFd event_fd_;
  std::vector<BlockRequest*> batch_;
  std::vector<std::thread> threads_;

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable result_;
  std::deque<BlockRequest*> queue_;
  std::vector<Done> done_;
  unsigned idle_ = 0;
  bool ending_ = false;
};

}  // namespace node_kvm
