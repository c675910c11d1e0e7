#include "support/guarded_buffer.h"

#include <sys/mman.h>

#include <utility>

namespace node_kvm {

GuardedBuffer::GuardedBuffer(size_t size) {
  constexpr size_t kPage = 4096;
  size_t usable = (size + kPage - 1) / kPage * kPage;
  if (usable < size) return;
  void* mapping =
      mmap(nullptr, usable + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return;
  mapping_ = mapping;
  mapping_size_ = usable + kPage;
  auto* end = static_cast<uint8_t*>(mapping) + usable;
  if (mprotect(end, kPage, PROT_NONE) == 0) data_ = end - size;
}

GuardedBuffer::GuardedBuffer(GuardedBuffer&& other) noexcept
    : mapping_(std::exchange(other.mapping_, nullptr)),
      mapping_size_(other.mapping_size_),
      data_(std::exchange(other.data_, nullptr)) {}

GuardedBuffer::~GuardedBuffer() {
  if (mapping_) munmap(mapping_, mapping_size_);
}

}  // namespace node_kvm
