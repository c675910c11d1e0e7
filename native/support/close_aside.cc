#include "support/close_aside.h"

#include <memory>
#include <utility>

namespace node_kvm {
namespace {

struct Closing {
  UniqueFd fd;
  napi_deferred deferred = nullptr;
  napi_async_work work = nullptr;
};

void Finish(napi_env env, Closing* closing) {
  std::unique_ptr<Closing> owned(closing);
  napi_value undefined = nullptr;
  napi_get_undefined(env, &undefined);
  napi_resolve_deferred(env, closing->deferred, undefined);
  if (closing->work) napi_delete_async_work(env, closing->work);
}

}  // namespace

napi_value CloseAside(napi_env env, UniqueFd fd) {
  napi_value promise = nullptr;
  napi_value name = nullptr;
  auto closing = std::make_unique<Closing>();
  closing->fd = std::move(fd);
  if (napi_create_promise(env, &closing->deferred, &promise) != napi_ok) return nullptr;
  auto execute = [](napi_env, void* data) { static_cast<Closing*>(data)->fd.reset(); };
  auto complete = [](napi_env env, napi_status, void* data) {
    Finish(env, static_cast<Closing*>(data));
  };
  Closing* shared = closing.release();
  if (napi_create_string_utf8(env, "node-kvm:close", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_async_work(env, nullptr, name, execute, complete, shared, &shared->work) !=
          napi_ok ||
      napi_queue_async_work(env, shared->work) != napi_ok) {
    Finish(env, shared);
  }
  return promise;
}

}  // namespace node_kvm
