#include "kvm_fd.h"

#include <fcntl.h>

#include <cerrno>
#include <string>

#include "support/args.h"
#include "support/checked_ioctl.h"
#include "support/errors.h"
#include "vm_fd.h"

namespace node_kvm {

napi_value KvmFd::Fd(napi_env env) { return MakeInt32(env, fd_.get()); }

napi_value KvmFd::Ioctl(napi_env env, const Args& args) {
  if (!fd_) return ThrowClosed(env, "Kvm");
  return CheckedIoctl(env, fd_.get(), kSystem, args);
}

napi_value KvmFd::DeviceAttr(napi_env env, const Args& args) {
  if (!fd_) return ThrowClosed(env, "Kvm");
  return node_kvm::DeviceAttr(env, fd_.get(), kSystem, args);
}

napi_value KvmFd::CreateVm(napi_env env, const Args& args) {
  ForIoctl naming("KVM_CREATE_VM");
  if (!fd_) return ThrowClosed(env, "Kvm");
  uint32_t type = 0;
  if (!GetUint32(env, args[0], "type", &type)) return nullptr;
  int fd = node_kvm::Ioctl(fd_.get(), KVM_CREATE_VM, static_cast<unsigned long>(type));
  if (fd < 0) return ThrowKvmError(env, -fd, "KVM_CREATE_VM");
  UniqueFd vm(fd);
  // The kernel makes its descriptors close-on-exec; the mmap size is the same for every vCPU.
  int run_size = node_kvm::Ioctl(fd_.get(), KVM_GET_VCPU_MMAP_SIZE, 0ul);
  if (run_size < 0) return ThrowKvmError(env, -run_size, "KVM_GET_VCPU_MMAP_SIZE");
  return NewInstance(env, &EnvData::vm_class,
                     std::make_unique<VmFd>(std::move(vm), static_cast<size_t>(run_size)));
}

napi_value KvmFd::Close(napi_env, const Args&) {
  fd_.reset();
  return nullptr;
}

namespace {
napi_value Construct(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!CheckNew<KvmFd>(env, info)) return nullptr;
  std::string path;
  if (!GetString(env, args[0], "path", &path)) return nullptr;
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return ThrowKvmError(env, errno, "open", path.c_str());
  return Wrap(env, args.self, std::make_unique<KvmFd>(std::move(fd)));
}
}  // namespace

bool DefineKvmFd(napi_env env, napi_value exports) {
  napi_property_descriptor members[] = {
      Getter<&KvmFd::Fd>("fd"),
      Method<&KvmFd::Ioctl>("ioctl"),
      Method<&KvmFd::DeviceAttr>("deviceAttr"),
      Method<&KvmFd::CreateVm>("createVm"),
      Method<&KvmFd::Close>("close"),
  };
  return DefineClass<KvmFd>(env, exports, Construct, members);
}

}  // namespace node_kvm
