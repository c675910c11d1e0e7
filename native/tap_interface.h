#pragma once

#include <node_api.h>

namespace node_kvm {

// Adds `configureInterface` to `exports`: addresses, MTU and the like of a network interface.
bool DefineInterfaceConfiguration(napi_env env, napi_value exports);

}  // namespace node_kvm
