#pragma once

#include <node_api.h>

#include <memory>

#include "support/class.h"
#include "support/unique_fd.h"

namespace node_kvm {

// Memory that belongs to one VM and that the host cannot map: KVM_CREATE_GUEST_MEMFD. Slots keep it
// after close().
class GuestMemfd {
 public:
  static constexpr char kName[] = "GuestMemfd";
  explicit GuestMemfd(UniqueFd fd) : fd_(std::move(fd)) {}

  // -1 once closed.
  int fd() const { return fd_.get(); }

  napi_value Fd(napi_env env);
  napi_value Close(napi_env env, const Args& args);

 private:
  UniqueFd fd_;
};

bool DefineGuestMemfd(napi_env env);

}  // namespace node_kvm
