#pragma once

#include <node_api.h>

#include <cstdint>
#include <memory>

#include "address_space.h"
#include "support/class.h"
#include "support/unique_fd.h"

namespace node_kvm {

// vhost-net (<linux/vhost.h>): the host's kernel serves the receive ring (0) and the transmit ring
// (1) of one queue pair in a thread of its own. Eventfds are given by number; the kernel holds them
// as long as it uses them.
class VhostNet {
 public:
  static constexpr char kName[] = "VhostNet";

  explicit VhostNet(UniqueFd fd) : fd_(std::move(fd)) {}

  static napi_value New(napi_env env, napi_callback_info info);

  napi_value Features(napi_env env);
  napi_value SetFeatures(napi_env env, const Args& args);
  napi_value SetMemory(napi_env env, const Args& args);
  napi_value SetRing(napi_env env, const Args& args);
  napi_value SetEvents(napi_env env, const Args& args);
  napi_value SetBackend(napi_env env, const Args& args);
  napi_value Position(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  // False with an exception pending.
  bool Do(napi_env env, unsigned long request, const void* argument, const char* name);

  // The kernel reads and writes guest memory until fd_ is closed: this goes after it.
  std::shared_ptr<const AddressSpaceSnapshot> memory_;
  UniqueFd fd_;
};

bool DefineVhostNet(napi_env env, napi_value exports);

}  // namespace node_kvm
