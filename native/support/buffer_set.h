#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace node_kvm {

// The ArrayBuffers that one object has given out over memory that it can take back.
class BufferSet {
 public:
  BufferSet() = default;
  ~BufferSet();
  BufferSet(const BufferSet&) = delete;
  BufferSet& operator=(const BufferSet&) = delete;

  // An ArrayBuffer over `[data, data + size)` that keeps `owner` alive until it is detached or
  // collected. The same range gives the same ArrayBuffer while that lives. nullptr with an
  // exception pending on failure.
  napi_value Make(napi_env env, std::shared_ptr<const void> owner, uint8_t* data, size_t size);
  // Detaches every buffer; their references to the owner go at once.
  void DetachAll(napi_env env);

 private:
  struct Entry {
    napi_ref ref;
    uint8_t* data;
    size_t size;
    // Owned by the ArrayBuffer's finalizer.
    std::shared_ptr<const void>* owner;
    std::shared_ptr<bool> collected;
  };
  napi_env env_ = nullptr;
  std::vector<Entry> entries_;
};

}  // namespace node_kvm
