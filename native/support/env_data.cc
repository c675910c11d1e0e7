#include "support/env_data.h"

#include "support/errors.h"

namespace node_kvm {

EnvData::~EnvData() {
  // The environment ends, and would leave to their owner what these references take.
  for (napi_ref reference : {kvm_error, vmm_error, vm_class, vcpu_class, device_class, stats_class,
                             guest_memfd_class, shared_mapping_class}) {
    if (reference) napi_delete_reference(env, reference);
  }
}

EnvData* EnvData::Get(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return static_cast<EnvData*>(data);
}

bool EnvData::Create(napi_env env) {
  auto finalize = [](napi_env, void* data, void*) { delete static_cast<EnvData*>(data); };
  auto* data = new EnvData(env);
  if (napi_set_instance_data(env, data, finalize, nullptr) == napi_ok) return true;
  delete data;
  return false;
}

napi_value SetErrorClasses(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value classes[2];
  if (napi_get_cb_info(env, info, &count, classes, nullptr, nullptr) != napi_ok) return nullptr;
  napi_ref* slots[2] = {&EnvData::Get(env)->kvm_error, &EnvData::Get(env)->vmm_error};
  for (napi_value value : classes) {
    napi_valuetype type = napi_undefined;
    if (count < 2 || napi_typeof(env, value, &type) != napi_ok || type != napi_function) {
      return ThrowTypeError(env, "setErrorClasses: expected two classes");
    }
  }
  for (int i = 0; i < 2; i++) {
    if (*slots[i]) napi_delete_reference(env, *slots[i]);
    napi_create_reference(env, classes[i], 1, slots[i]);
  }
  return nullptr;
}

}  // namespace node_kvm
