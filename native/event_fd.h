#pragma once

#include <node_api.h>

#include <cstdint>
#include <memory>

#include "support/callback.h"
#include "support/class.h"
#include "support/loop_handle.h"
#include "support/unique_fd.h"

namespace node_kvm {

// A nonblocking eventfd as a JavaScript object.
class EventFd {
 public:
  static constexpr char kName[] = "EventFd";
  explicit EventFd(UniqueFd fd) : fd_(std::make_shared<UniqueFd>(std::move(fd))) {}

  // -1 once closed.
  int fd() const { return fd_ ? fd_->get() : -1; }
  // For native users on other threads: the descriptor stays open until the last of them is done.
  // nullptr once closed.
  std::shared_ptr<const UniqueFd> share() const { return fd_; }

  napi_value Fd(napi_env env);
  napi_value Signal(napi_env env, const Args& args);
  napi_value Take(napi_env env, const Args& args);
  napi_value Watch(napi_env env, const Args& args);
  napi_value Unwatch(napi_env env, const Args& args);
  napi_value Ref(napi_env env, const Args& args);
  napi_value Unref(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  void OnReadable();

  std::shared_ptr<UniqueFd> fd_;
  bool ref_ = false;
  PollHandle poll_;
  Callback callback_;
};

// Adds to an eventfd's counter. A full counter is raised already: that is success.
bool SignalEventFd(int fd, uint64_t value = 1);

bool DefineEventFd(napi_env env, napi_value exports);

}  // namespace node_kvm
