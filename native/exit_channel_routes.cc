// The channel's routes and latches: which accesses the vCPUs' threads serve alone.
#include <string>
#include <utility>

#include "exit_channel.h"
#include "route_options.h"
#include "support/args.h"
#include "support/errors.h"

namespace node_kvm {

napi_value ExitChannel::AddRoute(napi_env env, const Args& args) {
  RouteOptions options;
  // A getter of the options may have closed the channel.
  if (!CheckOpen(env) || !GetRouteOptions(env, args[0], &options) || !CheckOpen(env)) {
    return nullptr;
  }
  uint32_t id = next_route_id_++;
  auto route = std::make_shared<Route>(id, std::move(options));
  auto table = group_.routes.table().With(route);
  if (!table) return ThrowVmmError(env, "ERR_BUS_CONFLICT", "the range overlaps another route");
  group_.routes.Replace(std::move(table));
  routes_.emplace(id, std::move(route));
  return MakeNumber(env, id);
}

napi_value ExitChannel::RemoveRoute(napi_env env, const Args& args) {
  uint32_t id = 0;
  if (!CheckOpen(env) || !GetUint32(env, args[0], "id", &id)) return nullptr;
  if (routes_.erase(id) == 0) {
    return ThrowInvalidOption(env, "id", args[0], "the id of a route that is there");
  }
  group_.routes.Replace(group_.routes.table().Without(id));
  return nullptr;
}

napi_value ExitChannel::Settle(napi_env env, const Args& args) {
  uint32_t id = 0;
  if (!CheckOpen(env) || !GetUint32(env, args[0], "id", &id)) return nullptr;
  auto route = routes_.find(id);
  if (route == routes_.end() || route->second->settled()) {
    return ThrowInvalidOption(env, "id", args[0], "the id of a route with a write to settle");
  }
  route->second->Settle();
  return nullptr;
}

napi_value ExitChannel::SetLatch(napi_env env, const Args& args) {
  uint32_t id = 0;
  uint32_t offset = 0;
  double value = 0;
  if (!CheckOpen(env) || !GetUint32(env, args[0], "id", &id) ||
      !GetUint32(env, args[1], "offset", &offset)) {
    return nullptr;
  }
  auto route = routes_.find(id);
  Latch* latch = route == routes_.end() ? nullptr : route->second->FindLatch(offset);
  if (!latch) return ThrowInvalidOption(env, "offset", args[1], "a latched register of a route");
  int64_t limit = (INT64_C(1) << (8 * latch->width)) - 1;
  if (napi_get_value_double(env, args[2], &value) != napi_ok || !(value >= -1 && value <= limit) ||
      value != static_cast<double>(static_cast<int64_t>(value))) {
    return ThrowInvalidOption(env, "value", args[2],
                              "an integer from -1 to " + std::to_string(limit));
  }
  latch->value.store(static_cast<int64_t>(value), std::memory_order_release);
  return nullptr;
}

InterruptCause* ExitChannel::GetCause(napi_env env, napi_value value) {
  uint32_t id = 0;
  if (!CheckOpen(env) || !GetUint32(env, value, "id", &id)) return nullptr;
  auto route = routes_.find(id);
  InterruptCause* cause = route == routes_.end() ? nullptr : route->second->cause();
  if (!cause) ThrowInvalidOption(env, "id", value, "the id of a route with a cause");
  return cause;
}

napi_value ExitChannel::SetCause(napi_env env, const Args& args) {
  enum Flags : uint32_t {
    kIdleLevel = 1,
    kPendingLevel = 2,
    kAcknowledges = 4,
    kShared = 8,
    kRaises = 16
  };
  InterruptCause* cause = GetCause(env, args[0]);
  InterruptCause::View view;
  uint32_t flags = 0;
  if (!cause || !GetUint32(env, args[1], "idle", &view.value[0], 0xff) ||
      !GetUint32(env, args[2], "pending", &view.value[1], 0xff) ||
      !GetUint32(env, args[3], "flags", &flags, 31)) {
    return nullptr;
  }
  view.level[0] = flags & kIdleLevel;
  view.level[1] = flags & kPendingLevel;
  view.acknowledges = flags & kAcknowledges;
  view.shared = flags & kShared;
  view.raises = flags & kRaises;
  cause->Set(view);
  return nullptr;
}

napi_value ExitChannel::CausePending(napi_env env, const Args& args) {
  InterruptCause* cause = GetCause(env, args[0]);
  if (!cause) return nullptr;
  bool pending = cause->pending();
  if (!IsNullish(env, args[1])) {
    uint32_t wanted = 0;
    if (!GetUint32(env, args[1], "pending", &wanted, 1)) return nullptr;
    cause->SetPending(wanted);
  }
  return MakeBool(env, pending);
}

napi_value ExitChannel::ReadCause(napi_env env, const Args& args) {
  InterruptCause* cause = GetCause(env, args[0]);
  return cause ? MakeNumber(env, cause->Read()) : nullptr;
}

}  // namespace node_kvm
