#include "stats_fd.h"

#include <unistd.h>

#include <cerrno>

#include "support/args.h"
#include "support/checked_ioctl.h"
#include "support/errors.h"

namespace node_kvm {

napi_value StatsFd::Open(napi_env env, int parent) {
  int fd = Ioctl(parent, KVM_GET_STATS_FD, 0ul);
  if (fd < 0) return ThrowKvmError(env, -fd, "KVM_GET_STATS_FD");
  return NewInstance(env, &EnvData::stats_class, std::make_unique<StatsFd>(UniqueFd(fd)));
}

napi_value StatsFd::Fd(napi_env env) { return MakeInt32(env, fd_.get()); }

// read(offset, bytes): how many bytes were read, fewer at the end.
napi_value StatsFd::Read(napi_env env, const Args& args) {
  if (!fd_) return ThrowClosed(env, "Stats");
  uint64_t offset = 0;
  Bytes bytes;
  if (!GetInteger(env, args[0], "offset", &offset) || !GetBytes(env, args[1], "bytes", &bytes)) {
    return nullptr;
  }
  ssize_t got = 0;
  do {
    got = pread(fd_.get(), bytes.data, bytes.size, static_cast<off_t>(offset));
  } while (got < 0 && errno == EINTR);
  if (got < 0) return ThrowKvmError(env, errno, "pread");
  return MakeNumber(env, static_cast<double>(got));
}

napi_value StatsFd::Close(napi_env, const Args&) {
  fd_.reset();
  return nullptr;
}

bool DefineStatsFd(napi_env env) {
  napi_property_descriptor members[] = {
      Getter<&StatsFd::Fd>("fd"),
      Method<&StatsFd::Read>("read"),
      Method<&StatsFd::Close>("close"),
  };
  return DefinePrivateClass<StatsFd>(env, &EnvData::stats_class, members);
}

}  // namespace node_kvm
