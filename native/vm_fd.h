#pragma once

#include <node_api.h>

#include <memory>

#include "support/class.h"
#include "support/unique_fd.h"
#include "vm_resources.h"

namespace node_kvm {

// A VM's descriptor as a JavaScript object. Closing it leaves the kernel's VM alive while a vCPU is
// open.
class VmFd {
 public:
  static constexpr char kName[] = "Vm";
  VmFd(UniqueFd fd, size_t run_size)
      : fd_(std::move(fd)), resources_(std::make_shared<VmResources>()), run_size_(run_size) {}

  // -1 once closed.
  int fd() const { return fd_.get(); }

  napi_value Fd(napi_env env);
  napi_value Ioctl(napi_env env, const Args& args);
  napi_value DeviceAttr(napi_env env, const Args& args);
  napi_value CreateVcpu(napi_env env, const Args& args);
  napi_value CreateDevice(napi_env env, const Args& args);
  napi_value SetUserMemoryRegion(napi_env env, const Args& args);
  napi_value Irqfd(napi_env env, const Args& args);
  napi_value Ioeventfd(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  bool CheckOpen(napi_env env);

  UniqueFd fd_;
  std::shared_ptr<VmResources> resources_;
  size_t run_size_;
};

bool DefineVmFd(napi_env env);

}  // namespace node_kvm
