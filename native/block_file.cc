#include "block_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>

#include "support/args.h"
#include "support/class.h"
#include "support/errors.h"
#include "support/unique_fd.h"

namespace node_kvm {
namespace {

bool GetFd(napi_env env, napi_value value, int* fd) {
  uint32_t number = 0;
  if (!GetUint32(env, value, "fd", &number, INT32_MAX)) return false;
  *fd = static_cast<int>(number);
  return true;
}

napi_value LockFile(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int fd = -1;
  bool exclusive = true;
  if (!GetFd(env, args[0], &fd)) return nullptr;
  napi_get_value_bool(env, args[1], &exclusive);
  // Of the open file description: it goes when the last descriptor does, and other opens in this
  // process meet it too.
  struct flock lock = {};
  lock.l_type = exclusive ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  return MakeInt32(env, fcntl(fd, F_OFD_SETLK, &lock) == 0 ? 0 : errno);
}

napi_value FileSize(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int fd = -1;
  if (!GetFd(env, args[0], &fd)) return nullptr;
  off_t end = lseek(fd, 0, SEEK_END);
  if (end < 0) return ThrowKvmError(env, errno, "lseek");
  return MakeNumber(env, static_cast<double>(end));
}

napi_value FallocateWorks(napi_env env, napi_callback_info info) {
  Args args(env, info);
  int fd = -1;
  uint64_t end = 0;
  if (!GetFd(env, args[0], &fd) || !GetInteger(env, args[1], "end", &end)) return nullptr;
  // Past the end, where there is nothing to lose.
  int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  return MakeBool(env, fallocate(fd, mode, static_cast<off_t>(end), 4096) == 0);
}

napi_value MemoryFile(napi_env env, napi_callback_info info) {
  Args args(env, info);
  uint64_t size = 0;
  if (!GetInteger(env, args[0], "size", &size)) return nullptr;
  UniqueFd fd(memfd_create("node-kvm-disk", MFD_CLOEXEC));
  if (!fd) return ThrowKvmError(env, errno, "memfd_create");
  if (ftruncate(fd.get(), static_cast<off_t>(size)) < 0) {
    return ThrowKvmError(env, errno, "ftruncate");
  }
  return MakeInt32(env, fd.release());
}

}  // namespace

bool DefineBlockFile(napi_env env, napi_value exports) {
  napi_property_descriptor functions[] = {
      {"lockFile", nullptr, LockFile, nullptr, nullptr, nullptr, napi_default_method, nullptr},
      {"fileSize", nullptr, FileSize, nullptr, nullptr, nullptr, napi_default_method, nullptr},
      {"memoryFile", nullptr, MemoryFile, nullptr, nullptr, nullptr, napi_default_method, nullptr},
      {"fallocateWorks", nullptr, FallocateWorks, nullptr, nullptr, nullptr, napi_default_method,
       nullptr},
  };
  return napi_define_properties(env, exports, std::size(functions), functions) == napi_ok;
}

}  // namespace node_kvm
