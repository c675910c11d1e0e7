#pragma once

#include <node_api.h>

#include "support/unique_fd.h"

namespace node_kvm {

// Closes a descriptor on a thread of libuv's pool; a promise of that. For those whose last close
// waits for the kernel, which the event loop, and with it every other machine, would wait for too.
napi_value CloseAside(napi_env env, UniqueFd fd);

}  // namespace node_kvm
