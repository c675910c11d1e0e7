#include "vm_fd.h"

#include <cerrno>

#include "device_fd.h"
#include "event_fd.h"
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
  return CheckOpen(env) ? CheckedIoctl(env, fd_.get(), kVm, args) : nullptr;
}

napi_value VmFd::DeviceAttr(napi_env env, const Args& args) {
  return CheckOpen(env) ? node_kvm::DeviceAttr(env, fd_.get(), kVm, args) : nullptr;
}

napi_value VmFd::CreateVcpu(napi_env env, const Args& args) {
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

// setUserMemoryRegion(slot, flags, guestAddress, size, mapping | null, offset)
napi_value VmFd::SetUserMemoryRegion(napi_env env, const Args& args) {
  kvm_userspace_memory_region region = {};
  uint64_t guest_address = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
  if (!CheckOpen(env) || !GetUint32(env, args[0], "slot", &region.slot) ||
      !GetUint32(env, args[1], "flags", &region.flags) ||
      !GetInteger(env, args[2], "guestAddress", &guest_address) ||
      !GetInteger(env, args[3], "size", &size)) {
    return nullptr;
  }
  std::shared_ptr<const MappedMemory> memory;
  if (IsNullish(env, args[4])) {
    if (size)
      return ThrowInvalidOption(env, "size", args[3], "0 to delete a slot (no mapping was given)");
  } else {
    auto* mapping = Unwrap<Mapping>(env, args[4], "mapping");
    if (!mapping) return nullptr;
    memory = mapping->memory();
    if (!memory) return ThrowClosed(env, "mapping");
    if (!size || size > memory->size()) {
      return ThrowInvalidOption(env, "size", args[3],
                                "from 1 byte to the mapping's " + std::to_string(memory->size()));
    }
    if (!GetInteger(env, args[5], "offset", &offset, memory->size() - size)) return nullptr;
    region.userspace_addr = reinterpret_cast<uintptr_t>(memory->data() + offset);
  }
  region.guest_phys_addr = guest_address;
  region.memory_size = size;
  int result = node_kvm::Ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region);
  if (result < 0) return ThrowKvmError(env, -result, "KVM_SET_USER_MEMORY_REGION");
  // Only now: until the kernel let go of the old slot its memory had to stay.
  if (memory) {
    resources_->slots[region.slot] = {size, std::move(memory)};
  } else {
    resources_->slots.erase(region.slot);
  }
  return nullptr;
}

// irqfd(event, gsi, flags, resample | null)
napi_value VmFd::Irqfd(napi_env env, const Args& args) {
  kvm_irqfd irqfd = {};
  if (!CheckOpen(env)) return nullptr;
  auto* event = Unwrap<EventFd>(env, args[0], "event");
  if (!event || !GetUint32(env, args[1], "gsi", &irqfd.gsi) ||
      !GetUint32(env, args[2], "flags", &irqfd.flags)) {
    return nullptr;
  }
  if (event->fd() < 0) return ThrowClosed(env, "event");
  irqfd.fd = static_cast<__u32>(event->fd());
  irqfd.flags &= ~KVM_IRQFD_FLAG_RESAMPLE;
  if (!IsNullish(env, args[3])) {
    auto* resample = Unwrap<EventFd>(env, args[3], "resample");
    if (!resample) return nullptr;
    if (resample->fd() < 0) return ThrowClosed(env, "resample");
    irqfd.resamplefd = static_cast<__u32>(resample->fd());
    irqfd.flags |= KVM_IRQFD_FLAG_RESAMPLE;
  }
  int result = node_kvm::Ioctl(fd_.get(), KVM_IRQFD, &irqfd);
  return result < 0 ? ThrowKvmError(env, -result, "KVM_IRQFD") : nullptr;
}

// ioeventfd(event, address, length, datamatch, flags)
napi_value VmFd::Ioeventfd(napi_env env, const Args& args) {
  kvm_ioeventfd ioeventfd = {};
  uint64_t address = 0;
  uint64_t datamatch = 0;
  if (!CheckOpen(env)) return nullptr;
  auto* event = Unwrap<EventFd>(env, args[0], "event");
  if (!event || !GetInteger(env, args[1], "address", &address) ||
      !GetUint32(env, args[2], "length", &ioeventfd.len) ||
      !GetBigUint64(env, args[3], "datamatch", &datamatch) ||
      !GetUint32(env, args[4], "flags", &ioeventfd.flags)) {
    return nullptr;
  }
  if (event->fd() < 0) return ThrowClosed(env, "event");
  ioeventfd.fd = event->fd();
  ioeventfd.addr = address;
  ioeventfd.datamatch = datamatch;
  int result = node_kvm::Ioctl(fd_.get(), KVM_IOEVENTFD, &ioeventfd);
  return result < 0 ? ThrowKvmError(env, -result, "KVM_IOEVENTFD") : nullptr;
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
      Method<&VmFd::Irqfd>("irqfd"),
      Method<&VmFd::Ioeventfd>("ioeventfd"),
      Method<&VmFd::Close>("close"),
  };
  return DefinePrivateClass<VmFd>(env, &EnvData::vm_class, members);
}

}  // namespace node_kvm
