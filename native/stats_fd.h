#pragma once

#include <node_api.h>

#include "support/class.h"
#include "support/unique_fd.h"

namespace node_kvm {

// The binary statistics of a VM or vCPU. The kernel keeps what they describe until the descriptor
// is closed.
class StatsFd {
 public:
  static constexpr char kName[] = "Stats";
  explicit StatsFd(UniqueFd fd) : fd_(std::move(fd)) {}
  // The result of a method: KVM_GET_STATS_FD on `parent`.
  static napi_value Open(napi_env env, int parent);

  napi_value Fd(napi_env env);
  napi_value Read(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  UniqueFd fd_;
};

bool DefineStatsFd(napi_env env);

}  // namespace node_kvm
