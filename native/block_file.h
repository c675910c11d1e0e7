#pragma once

#include <node_api.h>

namespace node_kvm {

// Functions for what Node's own fs does not do to a disk image:
//   lockFile(fd, exclusive): an open file description lock on all of it. 0, or the errno (EAGAIN:
//   someone has it) fileSize(fd): bytes, of a block device too fallocateWorks(fd, end): whether
//   ranges can be punched out
bool DefineBlockFile(napi_env env, napi_value exports);

}  // namespace node_kvm
