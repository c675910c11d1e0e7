#include "guest_memfd.h"

#include "support/args.h"

namespace node_kvm {

napi_value GuestMemfd::Fd(napi_env env) { return MakeInt32(env, fd_.get()); }

napi_value GuestMemfd::Close(napi_env, const Args&) {
  fd_.reset();
  return nullptr;
}

bool DefineGuestMemfd(napi_env env) {
  napi_property_descriptor members[] = {
      Getter<&GuestMemfd::Fd>("fd"),
      Method<&GuestMemfd::Close>("close"),
  };
  return DefinePrivateClass<GuestMemfd>(env, &EnvData::guest_memfd_class, members);
}

}  // namespace node_kvm
