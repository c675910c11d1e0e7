#include "support/callback.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace node_kvm {

bool Callback::Set(napi_env env, napi_value receiver, napi_value function, const char* resource) {
  Reset();
  env_ = env;
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, resource, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_reference(env, receiver, 1, &receiver_) != napi_ok ||
      napi_create_reference(env, function, 1, &function_) != napi_ok ||
      napi_async_init(env, receiver, name, &context_) != napi_ok) {
    Reset();
    return false;
  }
  return true;
}

void Callback::Reset() {
  if (context_) napi_async_destroy(env_, std::exchange(context_, nullptr));
  if (function_) napi_delete_reference(env_, std::exchange(function_, nullptr));
  if (receiver_) napi_delete_reference(env_, std::exchange(receiver_, nullptr));
}

void Callback::Call(const double* args, size_t count) {
  if (!function_) return;
  napi_env env = env_;
  napi_handle_scope scope = nullptr;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value function = nullptr;
  napi_value receiver = nullptr;
  napi_value values[4] = {};
  count = std::min(count, std::size(values));
  for (size_t i = 0; i < count; i++) napi_create_double(env, args[i], &values[i]);
  if (napi_get_reference_value(env, function_, &function) == napi_ok &&
      napi_get_reference_value(env, receiver_, &receiver) == napi_ok && function && receiver) {
    napi_status status =
        napi_make_callback(env, context_, receiver, function, count, values, nullptr);
    // Left alone the exception would vanish with the scope. A terminating Worker has none to take.
    napi_value error = nullptr;
    if (status == napi_pending_exception &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok && error) {
      napi_fatal_exception(env, error);
    }
  }
  napi_close_handle_scope(env, scope);
}

}  // namespace node_kvm
