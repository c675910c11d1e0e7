#include "device_fd.h"

#include "support/args.h"
#include "support/checked_ioctl.h"
#include "support/errors.h"

namespace node_kvm {

napi_value DeviceFd::Fd(napi_env env) { return MakeInt32(env, fd_.get()); }

napi_value DeviceFd::Ioctl(napi_env env, const Args& args) {
  if (!fd_) return ThrowClosed(env, "Device");
  return CheckedIoctl(env, fd_.get(), kDevice, args);
}

napi_value DeviceFd::DeviceAttr(napi_env env, const Args& args) {
  if (!fd_) return ThrowClosed(env, "Device");
  return node_kvm::DeviceAttr(env, fd_.get(), kDevice, args);
}

napi_value DeviceFd::Close(napi_env, const Args&) {
  fd_.reset();
  resources_.reset();
  return nullptr;
}

bool DefineDeviceFd(napi_env env) {
  napi_property_descriptor members[] = {
      Getter<&DeviceFd::Fd>("fd"),
      Method<&DeviceFd::Ioctl>("ioctl"),
      Method<&DeviceFd::DeviceAttr>("deviceAttr"),
      Method<&DeviceFd::Close>("close"),
  };
  return DefinePrivateClass<DeviceFd>(env, &EnvData::device_class, members);
}

}  // namespace node_kvm
