#pragma once

#include <node_api.h>

namespace node_kvm {

// A JavaScript function to be called from the event loop (a libuv callback), not from within
// JavaScript. An exception of the function becomes the process's 'uncaughtException'; microtasks
// run after the call.
class Callback {
 public:
  Callback() = default;
  ~Callback() { Reset(); }
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;

  // `function` must be a function; `receiver`, an object, is its `this` and kept alive until
  // Reset(). `resource` names the asynchronous operation for async_hooks ("node-kvm:eventfd").
  bool Set(napi_env env, napi_value receiver, napi_value function, const char* resource);
  void Reset();
  explicit operator bool() const { return function_ != nullptr; }

  // Calls the function with numbers as its arguments. Nothing of the caller is touched after the
  // function has run, so the function may close whatever owns this object.
  void Call(const double* args = nullptr, size_t count = 0);

 private:
  napi_env env_ = nullptr;
  napi_ref function_ = nullptr;
  napi_ref receiver_ = nullptr;
  napi_async_context context_ = nullptr;
};

}  // namespace node_kvm
