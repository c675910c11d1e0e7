#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "mapped_memory.h"
#include "support/buffer_set.h"
#include "support/class.h"

namespace node_kvm {

// The JavaScript class over MappedMemory.
class Mapping {
 public:
  static constexpr char kName[] = "Mapping";
  explicit Mapping(std::shared_ptr<MappedMemory> memory) : memory_(std::move(memory)) {}

  // nullptr once closed.
  const std::shared_ptr<MappedMemory>& memory() const { return memory_; }

  napi_value Size(napi_env env);
  napi_value Id(napi_env env);
  napi_value Fd(napi_env env);
  napi_value Buffer(napi_env env, const Args& args);
  napi_value Discard(napi_env env, const Args& args);
  // KSM may merge pages that are alike.
  napi_value SetMergeable(napi_env env, const Args& args);
  // Keeps what is touched from being swapped out.
  napi_value Lock(napi_env env, const Args& args);
  // Takes the pages of a range from the host now.
  napi_value Populate(napi_env env, const Args& args);
  // From which of the host's NUMA nodes the memory, or a range of it, is to come.
  napi_value Bind(napi_env env, const Args& args);
  napi_value CanariesIntact(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  // The arguments offset and length from `first` on, inside the memory; false with an exception
  // pending.
  bool GetRange(napi_env env, const Args& args, uint64_t* offset, uint64_t* length,
                size_t first = 0);

  std::shared_ptr<MappedMemory> memory_;
  BufferSet buffers_;
};

bool DefineMapping(napi_env env, napi_value exports);

}  // namespace node_kvm
