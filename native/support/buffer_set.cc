#include "support/buffer_set.h"

#include <algorithm>
#include <utility>

#include "support/errors.h"

namespace node_kvm {

// The buffers live on, and keep the memory: only the means to find them go.
BufferSet::~BufferSet() {
  for (const Entry& entry : entries_) napi_delete_reference(env_, entry.ref);
}

napi_value BufferSet::Make(napi_env env, std::shared_ptr<const void> owner, uint8_t* data,
                           size_t size) {
  env_ = env;
  auto gone = [&](const Entry& entry) {
    if (!*entry.collected) return false;
    napi_delete_reference(env, entry.ref);
    return true;
  };
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(), gone), entries_.end());
  for (const Entry& entry : entries_) {
    napi_value buffer = nullptr;
    bool detached = true;
    if (entry.data == data && entry.size == size &&
        napi_get_reference_value(env, entry.ref, &buffer) == napi_ok && buffer &&
        napi_is_detached_arraybuffer(env, buffer, &detached) == napi_ok && !detached) {
      return buffer;
    }
  }

  struct Hint {
    std::shared_ptr<const void> owner;
    std::shared_ptr<bool> collected;
  };
  auto* hint = new Hint{std::move(owner), std::make_shared<bool>(false)};
  auto finalize = [](napi_env, void*, void* data) {
    auto* finished = static_cast<Hint*>(data);
    *finished->collected = true;
    delete finished;
  };
  napi_value buffer = nullptr;
  napi_status status = napi_create_external_arraybuffer(env, data, size, finalize, hint, &buffer);
  if (status != napi_ok) {
    delete hint;
    if (status == napi_no_external_buffers_allowed) {
      return ThrowVmmError(env, "ERR_PLATFORM",
                           "this runtime refuses ArrayBuffers over memory outside its heap");
    }
    return ThrowVmmError(env, "ERR_STATE", "an ArrayBuffer over the mapping could not be made");
  }
  Entry entry = {nullptr, data, size, &hint->owner, hint->collected};
  if (napi_create_reference(env, buffer, 0, &entry.ref) != napi_ok) return nullptr;
  entries_.push_back(std::move(entry));
  return buffer;
}

void BufferSet::DetachAll(napi_env env) {
  for (Entry& entry : entries_) {
    napi_value buffer = nullptr;
    bool detached = true;
    // A buffer that somebody else detached may live on elsewhere (ArrayBuffer.prototype.transfer):
    // its memory stays until the finalizer has run.
    if (!*entry.collected && napi_get_reference_value(env, entry.ref, &buffer) == napi_ok &&
        buffer && napi_is_detached_arraybuffer(env, buffer, &detached) == napi_ok && !detached &&
        napi_detach_arraybuffer(env, buffer) == napi_ok && !*entry.collected) {
      entry.owner->reset();
    }
    napi_delete_reference(env, entry.ref);
  }
  entries_.clear();
}

}  // namespace node_kvm
