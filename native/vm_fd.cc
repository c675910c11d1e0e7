#include "vm_fd.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "device_fd.h"
#include "stats_fd.h"
#include "support/args.h"
#include "support/checked_ioctl.h"
#include "support/errors.h"
#include "vcpu_fd.h"

namespace node_kvm {

bool VmFd::CheckOpen(napi_env env) {
  if (!fd_) ThrowClosed(env, "Vm");
  return static_cast<bool>(fd_);
}

napi_value VmFd::Fd(napi_env env) { return MakeInt32(env, fd_.get()); }

napi_value VmFd::Ioctl(napi_env env, const Args& args) {
  if (!CheckOpen(env)) return nullptr;
  uint32_t request = 0;
  if (!GetUint32(env, args[0], "request", &request)) return nullptr;
  return request == KVM_ENABLE_CAP ? EnableCap(env, args) : CheckedIoctl(env, fd_.get(), kVm, args);
}

napi_value VmFd::EnableCap(napi_env env, const Args& args) {
  ForIoctl naming("KVM_ENABLE_CAP");
  Bytes bytes;
  kvm_enable_cap enable = {};
  if (!GetBytes(env, args[1], "argument", &bytes)) return nullptr;
  if (bytes.size < sizeof enable) {
    return ThrowInvalidOption(env, "argument", args[1],
                              "at least " + std::to_string(sizeof enable) + " bytes");
  }
  std::memcpy(&enable, bytes.data, sizeof enable);
  int result = node_kvm::Ioctl(fd_.get(), KVM_ENABLE_CAP, &enable);
  if (result < 0) return ThrowKvmError(env, -result, "KVM_ENABLE_CAP");
  if (enable.cap == KVM_CAP_DIRTY_LOG_RING || enable.cap == KVM_CAP_DIRTY_LOG_RING_ACQ_REL) {
    // A mapping beyond the ring would be SIGBUS when touched: the size must be known here.
    resources_->dirty_ring_size = enable.args[0];
  }
  return MakeInt32(env, result);
}

napi_value VmFd::DeviceAttr(napi_env env, const Args& args) {
  return CheckOpen(env) ? node_kvm::DeviceAttr(env, fd_.get(), kVm, args) : nullptr;
}

napi_value VmFd::CreateVcpu(napi_env env, const Args& args) {
  ForIoctl naming("KVM_CREATE_VCPU");
  uint32_t id = 0;
  if (!CheckOpen(env) || !GetUint32(env, args[0], "id", &id)) return nullptr;
  int fd = node_kvm::Ioctl(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(id));
  if (fd < 0) return ThrowKvmError(env, -fd, "KVM_CREATE_VCPU");
  int xsave =
      node_kvm::Ioctl(fd_.get(), KVM_CHECK_EXTENSION, static_cast<unsigned long>(KVM_CAP_XSAVE2));
  int error = 0;
  auto vcpu = Vcpu::Create(UniqueFd(fd), run_size_, xsave > 0 ? xsave : 0, resources_, &error);
  if (!vcpu) return ThrowKvmError(env, error, "mmap");
  return VcpuFd::New(env, std::move(vcpu));
}

napi_value VmFd::CreateDevice(napi_env env, const Args& args) {
  ForIoctl naming("KVM_CREATE_DEVICE");
  kvm_create_device device = {};
  if (!CheckOpen(env) || !GetUint32(env, args[0], "type", &device.type) ||
      !GetUint32(env, args[1], "flags", &device.flags)) {
    return nullptr;
  }
  int result = node_kvm::Ioctl(fd_.get(), KVM_CREATE_DEVICE, &device);
  if (result < 0) return ThrowKvmError(env, -result, "KVM_CREATE_DEVICE");
  // With KVM_CREATE_DEVICE_TEST nothing was made: the answer is that it could be.
  if (device.flags & KVM_CREATE_DEVICE_TEST) return nullptr;
  return NewInstance(env, &EnvData::device_class,
                     std::make_unique<DeviceFd>(UniqueFd(static_cast<int>(device.fd)), resources_));
}

napi_value VmFd::Stats(napi_env env, const Args&) {
  return CheckOpen(env) ? StatsFd::Open(env, fd_.get()) : nullptr;
}

napi_value VmFd::Close(napi_env, const Args&) {
  fd_.reset();
  // Open vCPUs and devices hold the rest.
  resources_.reset();
  return nullptr;
}

bool DefineVmFd(napi_env env) {
  napi_property_descriptor members[] = {
      Getter<&VmFd::Fd>("fd"),
      Method<&VmFd::Ioctl>("ioctl"),
      Method<&VmFd::DeviceAttr>("deviceAttr"),
      Method<&VmFd::CreateVcpu>("createVcpu"),
      Method<&VmFd::CreateDevice>("createDevice"),
      Method<&VmFd::SetUserMemoryRegion>("setUserMemoryRegion"),
      Method<&VmFd::SetUserMemoryRegion2>("setUserMemoryRegion2"),
      Method<&VmFd::CreateGuestMemfd>("createGuestMemfd"),
      Method<&VmFd::SlotSize>("slotSize"),
      Method<&VmFd::GetDirtyLog>("getDirtyLog"),
      Method<&VmFd::ClearDirtyLog>("clearDirtyLog"),
      Method<&VmFd::Irqfd>("irqfd"),
      Method<&VmFd::Ioeventfd>("ioeventfd"),
      Method<&VmFd::SetMsrFilter>("setMsrFilter"),
      Method<&VmFd::HypervEventfd>("hypervEventfd"),
      Method<&VmFd::XenHvmConfig>("xenHvmConfig"),
      Method<&VmFd::XenSharedInfoHva>("xenSharedInfoHva"),
      Method<&VmFd::MemoryEncryptOp>("memoryEncryptOp"),
      Method<&VmFd::MemoryEncryptRegion>("memoryEncryptRegion"),
      Method<&VmFd::Stats>("stats"),
      Method<&VmFd::Close>("close"),
  };
  return DefinePrivateClass<VmFd>(env, &EnvData::vm_class, members);
}

}  // namespace node_kvm
