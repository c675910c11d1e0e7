// What a cross-compiler's C and C++ libraries may lack although they are otherwise new enough: included in front of
// every source file by scripts/prebuildify.mjs, and by no other build.
#pragma once

#include <atomic>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef __cpp_lib_atomic_ref
// libc++ has it since LLVM 19. As much of C++20's [atomics.ref.generic] as is used.
namespace std {
template <typename T>
class atomic_ref {
 public:
  explicit atomic_ref(T& object) : object_(&object) {}
  T load(memory_order order = memory_order_seq_cst) const {
    return __atomic_load_n(object_, static_cast<int>(order));
  }
  void store(T value, memory_order order = memory_order_seq_cst) const {
    __atomic_store_n(object_, value, static_cast<int>(order));
  }
  T exchange(T value, memory_order order = memory_order_seq_cst) const {
    return __atomic_exchange_n(object_, value, static_cast<int>(order));
  }
  T fetch_add(T value, memory_order order = memory_order_seq_cst) const {
    return __atomic_fetch_add(object_, value, static_cast<int>(order));
  }
  T fetch_or(T value, memory_order order = memory_order_seq_cst) const {
    return __atomic_fetch_or(object_, value, static_cast<int>(order));
  }
  T fetch_and(T value, memory_order order = memory_order_seq_cst) const {
    return __atomic_fetch_and(object_, value, static_cast<int>(order));
  }
  operator T() const { return load(); }
  T operator=(T value) const {
    store(value);
    return value;
  }

 private:
  T* object_;
};
}  // namespace std
#endif

#if !defined(__GLIBC__) && !defined(RWF_NOWAIT)
// musl has preadv2 and pwritev2 since 1.2.5. The kernel takes the offset in two halves, of which 64-bit ones use one.
inline ssize_t preadv2(int fd, const struct iovec* iov, int count, off_t offset, int flags) {
  return syscall(SYS_preadv2, fd, iov, count, offset, 0, flags);
}
inline ssize_t pwritev2(int fd, const struct iovec* iov, int count, off_t offset, int flags) {
  return syscall(SYS_pwritev2, fd, iov, count, offset, 0, flags);
}
#endif
