#pragma once

#include <node_api.h>

#include "support/class.h"
#include "support/unique_fd.h"

namespace node_kvm {

// /dev/kvm as a JavaScript object.
class KvmFd {
 public:
  static constexpr char kName[] = "Kvm";
  explicit KvmFd(UniqueFd fd) : fd_(std::move(fd)) {}

  napi_value Fd(napi_env env);
  napi_value Ioctl(napi_env env, const Args& args);
  napi_value DeviceAttr(napi_env env, const Args& args);
  napi_value CreateVm(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  UniqueFd fd_;
};

bool DefineKvmFd(napi_env env, napi_value exports);

}  // namespace node_kvm
