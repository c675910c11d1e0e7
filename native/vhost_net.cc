#include "vhost_net.h"

#include <fcntl.h>
// Its functions are no C++.
#define VIRTIO_RING_NO_LEGACY
#include <linux/vhost.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "support/args.h"
#include "support/checked_ioctl.h"
#include "support/errors.h"
#include "tap.h"

namespace node_kvm {
namespace {

constexpr char kPath[] = "/dev/vhost-net";
constexpr uint32_t kRings = 2;
// Virtio 1.2, 2.7: entries of a split queue.
constexpr uint32_t kSizeMax = 32768;

bool GetRing(napi_env env, napi_value value, uint32_t* ring) {
  return GetUint32(env, value, "ring", ring, kRings - 1);
}

}  // namespace

// new VhostNet(): KvmError of open() where there is no vhost-net, or one may not use it.
napi_value VhostNet::New(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!CheckNew<VhostNet>(env, info)) return nullptr;
  UniqueFd fd(open(kPath, O_RDWR | O_CLOEXEC));
  if (!fd) return ThrowKvmError(env, errno, "open", kPath);
  if (int error = Ioctl(fd.get(), VHOST_SET_OWNER, nullptr); error < 0) {
    return ThrowKvmError(env, -error, "VHOST_SET_OWNER");
  }
  return Wrap(env, args.self, std::make_unique<VhostNet>(std::move(fd)));
}

bool VhostNet::Do(napi_env env, unsigned long request, const void* argument, const char* name) {
  if (!fd_) {
    ThrowClosed(env, "vhost-net");
    return false;
  }
  int error = Ioctl(fd_.get(), request, argument);
  if (error < 0) ThrowKvmError(env, -error, name);
  return error >= 0;
}

// The virtio features that it knows of, as a bigint.
napi_value VhostNet::Features(napi_env env) {
  uint64_t features = 0;
  napi_value result = nullptr;
  if (!Do(env, VHOST_GET_FEATURES, &features, "VHOST_GET_FEATURES")) return nullptr;
  napi_create_bigint_uint64(env, features, &result);
  return result;
}

napi_value VhostNet::SetFeatures(napi_env env, const Args& args) {
  uint64_t features = 0;
  if (!GetBigUint64(env, args[0], "features", &features)) return nullptr;
  Do(env, VHOST_SET_FEATURES, &features, "VHOST_SET_FEATURES");
  return nullptr;
}

// setMemory(addressSpace): guest memory as it is now. Its mappings stay until another is set, or
// close().
napi_value VhostNet::SetMemory(napi_env env, const Args& args) {
  auto* memory = Unwrap<AddressSpace>(env, args[0], "memory");
  if (!memory) return nullptr;
  auto snapshot = memory->snapshot();
  const auto& ranges = snapshot->ranges();
  std::vector<uint8_t> bytes(sizeof(vhost_memory) + ranges.size() * sizeof(vhost_memory_region));
  vhost_memory head = {};
  head.nregions = static_cast<uint32_t>(ranges.size());
  std::memcpy(bytes.data(), &head, sizeof head);
  for (size_t i = 0; i < ranges.size(); i++) {
    vhost_memory_region region = {};
    region.guest_phys_addr = ranges[i].guest_address;
    region.memory_size = ranges[i].size;
    region.userspace_addr = reinterpret_cast<uintptr_t>(ranges[i].host);
    std::memcpy(bytes.data() + sizeof head + i * sizeof region, &region, sizeof region);
  }
  if (Do(env, VHOST_SET_MEM_TABLE, bytes.data(), "VHOST_SET_MEM_TABLE")) {
    memory_ = std::move(snapshot);
  }
  return nullptr;
}

// setRing(ring, size, next, descriptors, available, used): a split ring at these guest addresses,
// which the memory set before holds; `next` is the position in it of the first chain to be taken.
napi_value VhostNet::SetRing(napi_env env, const Args& args) {
  uint32_t ring = 0;
  uint32_t size = 0;
  uint32_t next = 0;
  uint64_t guest[3] = {};
  if (!GetRing(env, args[0], &ring) || !GetUint32(env, args[1], "size", &size, kSizeMax) ||
      !GetUint32(env, args[2], "next", &next, 0xffff) ||
      !GetInteger(env, args[3], "descriptors", &guest[0]) ||
      !GetInteger(env, args[4], "available", &guest[1]) ||
      !GetInteger(env, args[5], "used", &guest[2])) {
    return nullptr;
  }
  // 2.7: with the event fields at the rings' ends.
  const uint64_t bytes[3] = {16ULL * size, 6 + 2ULL * size, 6 + 8ULL * size};
  void* host[3] = {};
  for (int i = 0; i < 3; i++) {
    if (!memory_ || !memory_->Resolve(guest[i], bytes[i], &host[i])) {
      return ThrowKvmError(env, EFAULT, "VHOST_SET_VRING_ADDR");
    }
  }
  vhost_vring_state number = {ring, size};
  vhost_vring_state base = {ring, next};
  vhost_vring_addr address = {};
  address.index = ring;
  address.desc_user_addr = reinterpret_cast<uintptr_t>(host[0]);
  address.avail_user_addr = reinterpret_cast<uintptr_t>(host[1]);
  address.used_user_addr = reinterpret_cast<uintptr_t>(host[2]);
  if (Do(env, VHOST_SET_VRING_NUM, &number, "VHOST_SET_VRING_NUM") &&
      Do(env, VHOST_SET_VRING_BASE, &base, "VHOST_SET_VRING_BASE")) {
    Do(env, VHOST_SET_VRING_ADDR, &address, "VHOST_SET_VRING_ADDR");
  }
  return nullptr;
}

// setEvents(ring, kick, call, error): eventfds by number, -1 for none. What is absent stays.
napi_value VhostNet::SetEvents(napi_env env, const Args& args) {
  uint32_t ring = 0;
  if (!GetRing(env, args[0], &ring)) return nullptr;
  const struct {
    unsigned long request;
    const char* name;
    const char* option;
  } kinds[] = {{VHOST_SET_VRING_KICK, "VHOST_SET_VRING_KICK", "kick"},
               {VHOST_SET_VRING_CALL, "VHOST_SET_VRING_CALL", "call"},
               {VHOST_SET_VRING_ERR, "VHOST_SET_VRING_ERR", "error"}};
  for (size_t i = 0; i < std::size(kinds); i++) {
    vhost_vring_file file = {ring, -1};
    if (IsNullish(env, args[i + 1])) continue;
    if (!GetInt32(env, args[i + 1], kinds[i].option, &file.fd) ||
        !Do(env, kinds[i].request, &file, kinds[i].name)) {
      return nullptr;
    }
  }
  return nullptr;
}

// setBackend(ring, tap): starts to serve the ring. undefined: stops, and when this returns nothing
// of the ring is being worked on any more.
napi_value VhostNet::SetBackend(napi_env env, const Args& args) {
  uint32_t ring = 0;
  if (!GetRing(env, args[0], &ring)) return nullptr;
  vhost_vring_file file = {ring, -1};
  if (!IsNullish(env, args[1])) {
    auto* tap = Unwrap<Tap>(env, args[1], "tap");
    if (!tap) return nullptr;
    if (tap->fd() < 0) return ThrowClosed(env, "TAP");
    file.fd = tap->fd();
  }
  Do(env, VHOST_NET_SET_BACKEND, &file, "VHOST_NET_SET_BACKEND");
  return nullptr;
}

// position(ring): of the next chain to be taken. Exact once the ring is not served any more.
napi_value VhostNet::Position(napi_env env, const Args& args) {
  uint32_t ring = 0;
  if (!GetRing(env, args[0], &ring)) return nullptr;
  vhost_vring_state state = {ring, 0};
  if (!Do(env, VHOST_GET_VRING_BASE, &state, "VHOST_GET_VRING_BASE")) return nullptr;
  return MakeNumber(env, state.num & 0xffff);
}

napi_value VhostNet::Close(napi_env, const Args&) {
  fd_.reset();
  memory_.reset();
  return nullptr;
}

bool DefineVhostNet(napi_env env, napi_value exports) {
  napi_property_descriptor members[] = {
      Getter<&VhostNet::Features>("features"),   Method<&VhostNet::SetFeatures>("setFeatures"),
      Method<&VhostNet::SetMemory>("setMemory"), Method<&VhostNet::SetRing>("setRing"),
      Method<&VhostNet::SetEvents>("setEvents"), Method<&VhostNet::SetBackend>("setBackend"),
      Method<&VhostNet::Position>("position"),   Method<&VhostNet::Close>("close"),
  };
  return DefineClass<VhostNet>(env, exports, VhostNet::New, members);
}

}  // namespace node_kvm
