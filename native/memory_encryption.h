#pragma once

#include <node_api.h>

#include "support/class.h"

namespace node_kvm {

// The body of memoryEncryptOp(command, data, pointers) on VMs and vCPUs. `command` is struct
// kvm_sev_cmd or kvm_tdx_cmd; its `data` field is set here to the address of `data`, or to 0. Each
// of `pointers`, [offset, bytes], puts the address of those bytes into `data`. All bytes are copied
// back afterwards, also after an error.
napi_value MemoryEncryptOp(napi_env env, int fd, const Args& args);

}  // namespace node_kvm
