#include "support/loop_handle.h"

#include <utility>

namespace node_kvm {

template <typename UvHandle>
int LoopHandle<UvHandle>::Open(napi_env env, std::function<void()> callback,
                               const std::function<int(uv_loop_t*, UvHandle*)>& init) {
  Close();
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return UV_EINVAL;
  auto* state = new State;
  if (int error = init(loop, &state->handle); error < 0) {
    delete state;
    return error;
  }
  state->handle.data = state;
  state->owner = this;
  state->callback.swap(callback);
  uv_unref(reinterpret_cast<uv_handle_t*>(&state->handle));
  state_ = state;
  napi_add_async_cleanup_hook(
      env,
      [](napi_async_cleanup_hook_handle, void* data) {
        auto* ending = static_cast<State*>(data);
        if (ending->owner) ending->owner->Close();
      },
      state, &state->hook);
  return 0;
}

template <typename UvHandle>
void LoopHandle<UvHandle>::Close() {
  State* state = std::exchange(state_, nullptr);
  if (!state) return;
  state->owner = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&state->handle), [](uv_handle_t* handle) {
    auto* closed = static_cast<State*>(handle->data);
    // Only now may the environment go on with its end: libuv has let go of the memory.
    if (closed->hook) napi_remove_async_cleanup_hook(closed->hook);
    delete closed;
  });
}

// A callback may close its own handle, and with it the object that owns the function: it runs from
// a copy.
template <typename State>
static void Invoke(State* state) {
  if (!state->owner) return;
  std::function<void()> callback = state->callback;
  callback();
}

int PollHandle::Open(napi_env env, int fd, int events, std::function<void()> callback) {
  int error = LoopHandle::Open(env, std::move(callback), [fd](uv_loop_t* loop, uv_poll_t* handle) {
    return uv_poll_init(loop, handle, fd);
  });
  if (error < 0) return error;
  error = uv_poll_start(&state_->handle, events,
                        [](uv_poll_t* poll, int, int) { Invoke(static_cast<State*>(poll->data)); });
  if (error < 0) Close();
  return error;
}

int AsyncHandle::Open(napi_env env, std::function<void()> callback) {
  return LoopHandle::Open(env, std::move(callback), [](uv_loop_t* loop, uv_async_t* handle) {
    return uv_async_init(loop, handle,
                         [](uv_async_t* async) { Invoke(static_cast<State*>(async->data)); });
  });
}

int TimerHandle::Open(napi_env env, std::function<void()> callback) {
  return LoopHandle::Open(env, std::move(callback), [](uv_loop_t* loop, uv_timer_t* handle) {
    return uv_timer_init(loop, handle);
  });
}

void TimerHandle::Start(uint64_t period_ms) {
  if (!state_) return;
  period_ms_ = period_ms;
  Arm();
}

void TimerHandle::Arm() {
  auto fire = [](uv_timer_t* timer) {
    auto* state = static_cast<State*>(timer->data);
    if (state->owner) static_cast<TimerHandle*>(state->owner)->Arm();
    Invoke(state);
  };
  uint64_t now = uv_now(state_->handle.loop);
  uv_timer_start(&state_->handle, fire, period_ms_ - now % period_ms_, 0);
}

void TimerHandle::Stop() {
  if (state_) uv_timer_stop(&state_->handle);
}

template class LoopHandle<uv_poll_t>;
template class LoopHandle<uv_async_t>;
template class LoopHandle<uv_timer_t>;

}  // namespace node_kvm
