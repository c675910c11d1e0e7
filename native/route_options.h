#pragma once

#include <node_api.h>

#include "route_table.h"

namespace node_kvm {

// The argument of addRoute(): see NativeRoute in lib/binding/exit-channel.ts. False with an
// exception pending.
bool GetRouteOptions(napi_env env, napi_value value, RouteOptions* out);

}  // namespace node_kvm
