#pragma once

#include <node_api.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdint>

#include "ioctl_table.h"
#include "support/class.h"

namespace node_kvm {

// ioctl(2), again after a signal; the result, or the negative errno.
template <typename T>
int Ioctl(int fd, unsigned long request, T argument) {
  int result = 0;
  do {
    result = ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : result;
}

// The body of every class's `ioctl(request, argument)`: see NativeFd in lib/binding/fds.ts.
// `xsave_size` counts for vCPUs.
napi_value CheckedIoctl(napi_env env, int fd, FdKind kind, const Args& args,
                        uint32_t xsave_size = 0);

// The body of every class's `deviceAttr(operation, group, attribute, flags, bytes)`. `operation` is
// KVM_SET_DEVICE_ATTR, KVM_GET_DEVICE_ATTR or KVM_HAS_DEVICE_ATTR; true unless KVM_HAS_DEVICE_ATTR
// says no.
napi_value DeviceAttr(napi_env env, int fd, FdKind kind, const Args& args);

// binding.ioctls(): [{ name, request, fds, kind, size }], the table itself.
napi_value ListIoctls(napi_env env, napi_callback_info info);

}  // namespace node_kvm
