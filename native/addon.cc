#include <node_api.h>

#include "address_space.h"
#include "block_engine.h"
#include "block_file.h"
#include "device_fd.h"
#include "event_fd.h"
#include "exit_channel.h"
#include "guest_memfd.h"
#include "kvm_fd.h"
#include "mapping.h"
#include "stats_fd.h"
#include "support/checked_ioctl.h"
#include "support/env_data.h"
#include "tap.h"
#include "tap_interface.h"
#include "vcpu_fd.h"
#include "vhost_net.h"
#include "vm_fd.h"

namespace node_kvm {
namespace {

bool DefineFunction(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function) ==
             napi_ok &&
         napi_set_named_property(env, exports, name, function) == napi_ok;
}

// Runs once for each environment that loads the addon.
napi_value Init(napi_env env, napi_value exports) {
  bool done =
      EnvData::Create(env) && DefineFunction(env, exports, "setErrorClasses", SetErrorClasses) &&
      DefineFunction(env, exports, "ioctls", ListIoctls) && DefineKvmFd(env, exports) &&
      DefineVmFd(env) && DefineVcpuFd(env) && DefineDeviceFd(env) && DefineStatsFd(env) &&
      DefineGuestMemfd(env) && DefineEventFd(env, exports) && DefineExitChannel(env, exports) &&
      DefineMapping(env, exports) && DefineAddressSpace(env, exports) &&
      DefineBlockEngine(env, exports) && DefineBlockFile(env, exports) && DefineTap(env, exports) &&
      DefineInterfaceConfiguration(env, exports) && DefineVhostNet(env, exports);
  return done ? exports : nullptr;
}

}  // namespace
}  // namespace node_kvm

NAPI_MODULE(NODE_GYP_MODULE_NAME, node_kvm::Init)
