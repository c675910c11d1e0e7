#include "memory_encryption.h"

#include <cstring>
#include <vector>

#include "mapping.h"
#include "support/args.h"
#include "support/checked_ioctl.h"
#include "support/errors.h"
#include "support/guarded_buffer.h"

namespace node_kvm {
namespace {

// struct kvm_sev_cmd and struct kvm_tdx_cmd: both of one size, with `data` in one place.
constexpr size_t kCommandSize = 24;
constexpr size_t kDataOffset = 8;
constexpr uint32_t kMaxPointers = 16;
constexpr size_t kMaxBytes = size_t{1} << 28;

// One array of the caller's and the copy of it that the kernel works on.
struct Shadow {
  napi_value array;
  size_t size;
  GuardedBuffer copy;
};

bool AddShadow(napi_env env, napi_value array, const char* option, std::vector<Shadow>* shadows) {
  Bytes bytes;
  if (!GetBytes(env, array, option, &bytes)) return false;
  if (bytes.size > kMaxBytes) {
    ThrowInvalidOption(env, option, array, "at most 256 MiB");
    return false;
  }
  GuardedBuffer copy(bytes.size);
  if (!copy.data()) {
    ThrowKvmError(env, ENOMEM, "mmap");
    return false;
  }
  if (bytes.size) std::memcpy(copy.data(), bytes.data, bytes.size);
  shadows->push_back({array, bytes.size, std::move(copy)});
  return true;
}

// Reads `pointers` and writes each address into `data`, the last of `shadows` so far.
bool AddPointers(napi_env env, napi_value pointers, std::vector<Shadow>* shadows) {
  if (IsNullish(env, pointers)) return true;
  bool is_array = false;
  uint32_t count = 0;
  if (napi_is_array(env, pointers, &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env, pointers, &count) != napi_ok || count > kMaxPointers) {
    ThrowInvalidOption(env, "pointers", pointers, "an array of at most 16 [offset, bytes]");
    return false;
  }
  size_t data = shadows->size() - 1;
  for (uint32_t i = 0; i < count; i++) {
    napi_value pair = nullptr;
    napi_value offset_value = nullptr;
    napi_value target = nullptr;
    if (napi_get_element(env, pointers, i, &pair) != napi_ok ||
        napi_get_element(env, pair, 0, &offset_value) != napi_ok ||
        napi_get_element(env, pair, 1, &target) != napi_ok) {
      ThrowInvalidOption(env, "pointers", pointers, "an array of at most 16 [offset, bytes]");
      return false;
    }
    uint64_t offset = 0;
    size_t room = (*shadows)[data].size;
    if (room < sizeof(uint64_t)) {
      ThrowInvalidOption(env, "data", (*shadows)[data].array, "room for the pointers");
      return false;
    }
    if (!GetInteger(env, offset_value, "pointers[].offset", &offset, room - sizeof(uint64_t)) ||
        !AddShadow(env, target, "pointers[].bytes", shadows)) {
      return false;
    }
    uint64_t address = shadows->back().copy.address();
    std::memcpy((*shadows)[data].copy.data() + offset, &address, sizeof address);
  }
  return true;
}

}  // namespace

napi_value MemoryEncryptOp(napi_env env, int fd, const Args& args) {
  ForIoctl naming("KVM_MEMORY_ENCRYPT_OP");
  std::vector<Shadow> shadows;
  if (!AddShadow(env, args[0], "command", &shadows)) return nullptr;
  if (shadows[0].size != kCommandSize) {
    return ThrowInvalidOption(env, "command", args[0],
                              "the 24 bytes of kvm_sev_cmd or kvm_tdx_cmd");
  }
  uint64_t data_address = 0;
  if (!IsNullish(env, args[1])) {
    if (!AddShadow(env, args[1], "data", &shadows)) return nullptr;
    data_address = shadows[1].copy.address();
    if (!AddPointers(env, args[2], &shadows)) return nullptr;
  }
  std::memcpy(shadows[0].copy.data() + kDataOffset, &data_address, sizeof data_address);
  int result = Ioctl(fd, KVM_MEMORY_ENCRYPT_OP, shadows[0].copy.data());
  for (const Shadow& shadow : shadows) {
    // JavaScript may have run meanwhile, through a getter of `pointers`: what there is room for is
    // copied.
    Bytes bytes;
    void* data = nullptr;
    if (napi_get_typedarray_info(env, shadow.array, nullptr, &bytes.size, &data, nullptr,
                                 nullptr) == napi_ok &&
        data && bytes.size >= shadow.size) {
      std::memcpy(data, shadow.copy.data(), shadow.size);
    }
  }
  return result < 0 ? ThrowKvmError(env, -result, "KVM_MEMORY_ENCRYPT_OP") : MakeInt32(env, result);
}

}  // namespace node_kvm
