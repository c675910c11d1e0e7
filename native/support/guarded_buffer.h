#pragma once

#include <cstddef>
#include <cstdint>

namespace node_kvm {

// Memory for an ioctl whose bounds the kernel takes from the data itself: it ends where an
// unreadable page begins, so that a wrong length there gives EFAULT instead of reading or writing
// what lies behind.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t size);
  ~GuardedBuffer();
  GuardedBuffer(GuardedBuffer&& other) noexcept;
  GuardedBuffer& operator=(GuardedBuffer&&) = delete;
  GuardedBuffer(const GuardedBuffer&) = delete;

  // nullptr if the memory could not be had.
  uint8_t* data() const { return data_; }
  uint64_t address() const { return reinterpret_cast<uintptr_t>(data_); }

 private:
  void* mapping_ = nullptr;
  size_t mapping_size_ = 0;
  uint8_t* data_ = nullptr;
};

}  // namespace node_kvm
