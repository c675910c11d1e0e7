#pragma once

#include <node_api.h>
#include <uv.h>

#include <functional>

namespace node_kvm {

// A libuv handle on an environment's event loop. All methods belong to the loop's thread, except
// AsyncHandle::Send. The handle closes by itself when the environment ends (which waits for libuv
// to be done with it), so a Worker can be terminated at any time; after that the methods do
// nothing. A new handle does not keep the loop alive.
template <typename UvHandle>
class LoopHandle {
 public:
  LoopHandle() = default;
  ~LoopHandle() { Close(); }
  LoopHandle(const LoopHandle&) = delete;
  LoopHandle& operator=(const LoopHandle&) = delete;

  bool open() const { return state_ != nullptr; }
  void Close();
  void Ref() {
    if (state_) uv_ref(reinterpret_cast<uv_handle_t*>(&state_->handle));
  }
  void Unref() {
    if (state_) uv_unref(reinterpret_cast<uv_handle_t*>(&state_->handle));
  }

 protected:
  struct State {
    UvHandle handle;
    LoopHandle* owner = nullptr;
    napi_async_cleanup_hook_handle hook = nullptr;
    std::function<void()> callback;
  };

  // 0, or libuv's negative error.
  int Open(napi_env env, std::function<void()> callback,
           const std::function<int(uv_loop_t*, UvHandle*)>& init);

  State* state_ = nullptr;
};

// Calls back each time `fd` is ready for one of `events` (UV_READABLE...). The fd must stay open
// until Close().
class PollHandle : public LoopHandle<uv_poll_t> {
 public:
  int Open(napi_env env, int fd, int events, std::function<void()> callback);
};

// Calls back on the loop's thread some time after Send(); several sends may make one call.
class AsyncHandle : public LoopHandle<uv_async_t> {
 public:
  int Open(napi_env env, std::function<void()> callback);
  // Safe on any thread, as long as the owner keeps the handle open meanwhile: join such threads
  // before Close().
  void Send() {
    if (state_) uv_async_send(&state_->handle);
  }
};

// Calls back at each multiple of a period on the loop's clock: however many of them a loop has, all
// of one period wake it together.
class TimerHandle : public LoopHandle<uv_timer_t> {
 public:
  int Open(napi_env env, std::function<void()> callback);
  void Start(uint64_t period_ms);
  void Stop();

 private:
  void Arm();

  uint64_t period_ms_ = 1;
};

}  // namespace node_kvm
