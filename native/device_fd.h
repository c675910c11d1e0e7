#pragma once

#include <node_api.h>

#include <memory>

#include "support/class.h"
#include "support/unique_fd.h"
#include "vm_resources.h"

namespace node_kvm {

// An in-kernel device's descriptor as a JavaScript object.
class DeviceFd {
 public:
  static constexpr char kName[] = "Device";
  DeviceFd(UniqueFd fd, std::shared_ptr<VmResources> resources)
      : fd_(std::move(fd)), resources_(std::move(resources)) {}

  napi_value Fd(napi_env env);
  napi_value Ioctl(napi_env env, const Args& args);
  napi_value DeviceAttr(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  UniqueFd fd_;
  std::shared_ptr<VmResources> resources_;
};

bool DefineDeviceFd(napi_env env);

}  // namespace node_kvm
