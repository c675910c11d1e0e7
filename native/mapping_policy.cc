// How the kernel is to treat a mapping's memory.
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "mapping.h"
#include "support/args.h"
#include "support/errors.h"

// Since Linux 5.14.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace node_kvm {
namespace {

// More than any kernel is built for (CONFIG_NODES_SHIFT is at most 10).
constexpr uint32_t kNodes = 1024;
constexpr size_t kBitsPerWord = 8 * sizeof(unsigned long);

}  // namespace

napi_value Mapping::SetMergeable(napi_env env, const Args&) {
  if (!memory_) return ThrowClosed(env, "mapping");
  if (madvise(memory_->data(), memory_->size(), MADV_MERGEABLE) < 0) {
    return ThrowKvmError(env, errno, "madvise");
  }
  return nullptr;
}

napi_value Mapping::Lock(napi_env env, const Args&) {
  if (!memory_) return ThrowClosed(env, "mapping");
  // What is there already, and the rest as it comes.
  if (mlock2(memory_->data(), memory_->size(), MLOCK_ONFAULT) < 0) {
    return ThrowKvmError(env, errno, "mlock2");
  }
  return nullptr;
}

napi_value Mapping::Populate(napi_env env, const Args& args) {
  uint64_t offset = 0;
  uint64_t length = 0;
  if (!GetRange(env, args, &offset, &length)) return nullptr;
  uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (offset % page) return ThrowInvalidOption(env, "offset", args[0], "a multiple of 4096");
  uint8_t* start = memory_->data() + offset;
  int error = madvise(start, length, MADV_POPULATE_WRITE) < 0 ? errno : 0;
  // An older kernel: a write to each page that changes nothing, as others may have the memory.
  if (error == EINVAL) {
    for (uint64_t at = 0; at < length; at += page)
      __atomic_fetch_or(start + at, 0, __ATOMIC_RELAXED);
  } else if (error != 0) {
    return ThrowKvmError(env, error, "madvise");
  }
  return nullptr;
}

napi_value Mapping::Bind(napi_env env, const Args& args) {
  if (!memory_) return ThrowClosed(env, "mapping");
  uint64_t offset = 0;
  uint64_t length = memory_->size();
  std::string policy;
  Words nodes;
  if (!GetString(env, args[0], "policy", &policy) || !GetWords(env, args[1], "nodes", &nodes)) {
    return nullptr;
  }
  if (!IsNullish(env, args[2]) && !GetRange(env, args, &offset, &length, 2)) return nullptr;
  int mode = policy == "bind"         ? MPOL_BIND
             : policy == "preferred"  ? MPOL_PREFERRED
             : policy == "interleave" ? MPOL_INTERLEAVE
                                      : -1;
  if (mode < 0) {
    return ThrowInvalidOption(env, "policy", args[0], "'bind', 'preferred' or 'interleave'");
  }
  std::array<unsigned long, kNodes / kBitsPerWord> mask = {};
  for (size_t i = 0; i < nodes.count; i++) {
    if (nodes.data[i] >= kNodes) {
      return ThrowInvalidOption(env, "nodes", args[1], "numbers below " + std::to_string(kNodes));
    }
    mask[nodes.data[i] / kBitsPerWord] |= 1UL << (nodes.data[i] % kBitsPerWord);
  }
  // The kernel takes one bit less than it is told.
  if (syscall(SYS_mbind, memory_->data() + offset, length, mode, mask.data(), kNodes + 1, 0) < 0) {
    return ThrowKvmError(env, errno, "mbind");
  }
  return nullptr;
}

}  // namespace node_kvm
