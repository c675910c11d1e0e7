#pragma once

#include <node_api.h>

#include "support/kick_signal.h"

namespace node_kvm {

// What the addon keeps for one environment (the main thread or one Worker). Nothing in it is shared
// between threads.
struct EnvData {
  explicit EnvData(napi_env env) : env(env) {}
  ~EnvData();
  EnvData(const EnvData&) = delete;
  EnvData& operator=(const EnvData&) = delete;

  napi_env env;
  napi_ref kvm_error = nullptr;
  napi_ref vmm_error = nullptr;
  // The classes that scripts cannot construct themselves: their objects come from a parent's
  // method.
  napi_ref vm_class = nullptr;
  napi_ref vcpu_class = nullptr;
  napi_ref device_class = nullptr;
  napi_ref stats_class = nullptr;
  napi_ref guest_memfd_class = nullptr;
  napi_ref shared_mapping_class = nullptr;
  // Set around napi_new_instance for those classes: the C++ object that the constructor adopts.
  void* adoptee = nullptr;
  // For the synchronous run() of the vCPUs of this thread.
  Heartbeat heartbeat;

  static EnvData* Get(napi_env env);
  static bool Create(napi_env env);
};

// binding.setErrorClasses(KvmError, VmmError).
napi_value SetErrorClasses(napi_env env, napi_callback_info info);

}  // namespace node_kvm
