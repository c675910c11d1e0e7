#pragma once

#include <node_api.h>

#include <memory>

#include "support/args.h"
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
  std::shared_ptr<const VmResources> resources() const { return resources_; }

  napi_value Fd(napi_env env);
  napi_value Ioctl(napi_env env, const Args& args);
  napi_value DeviceAttr(napi_env env, const Args& args);
  napi_value CreateVcpu(napi_env env, const Args& args);
  napi_value CreateDevice(napi_env env, const Args& args);
  // vm_fd_memory.cc
  napi_value SetUserMemoryRegion(napi_env env, const Args& args);
  napi_value SetUserMemoryRegion2(napi_env env, const Args& args);
  napi_value CreateGuestMemfd(napi_env env, const Args& args);
  napi_value SlotSize(napi_env env, const Args& args);
  napi_value GetDirtyLog(napi_env env, const Args& args);
  napi_value ClearDirtyLog(napi_env env, const Args& args);

  // vm_fd_platform.cc
  napi_value Irqfd(napi_env env, const Args& args);
  napi_value Ioeventfd(napi_env env, const Args& args);
  napi_value SetMsrFilter(napi_env env, const Args& args);
  napi_value HypervEventfd(napi_env env, const Args& args);
  napi_value XenHvmConfig(napi_env env, const Args& args);
  napi_value XenSharedInfoHva(napi_env env, const Args& args);
  napi_value MemoryEncryptOp(napi_env env, const Args& args);
  napi_value MemoryEncryptRegion(napi_env env, const Args& args);

  napi_value Stats(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  bool CheckOpen(napi_env env);
  napi_value EnableCap(napi_env env, const Args& args);
  // The pages of a slot, and the bytes of its dirty bitmap; false with an exception pending.
  bool DirtyBitmap(napi_env env, uint32_t slot, napi_value bitmap, Bytes* bytes, uint64_t* pages);

  UniqueFd fd_;
  std::shared_ptr<VmResources> resources_;
  size_t run_size_;
};

bool DefineVmFd(napi_env env);

}  // namespace node_kvm
