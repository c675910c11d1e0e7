#include "address_space.h"

#include <algorithm>

#include "mapping.h"
#include "support/args.h"
#include "support/errors.h"

namespace node_kvm {

// add(guestAddress, size, mapping, offset)
napi_value AddressSpace::Add(napi_env env, const Args& args) {
  if (closed_) return ThrowClosed(env, "address space");
  AddressSpaceSnapshot::Range range = {};
  uint64_t offset = 0;
  if (!GetInteger(env, args[0], "guestAddress", &range.guest_address)) return nullptr;
  if (!GetInteger(env, args[1], "size", &range.size, kMaxSafeInteger - range.guest_address, 1)) {
    return nullptr;
  }
  auto* mapping = Unwrap<Mapping>(env, args[2], "mapping");
  if (!mapping) return nullptr;
  if (!mapping->memory()) return ThrowClosed(env, "mapping");
  range.memory = mapping->memory();
  if (range.size > range.memory->size()) {
    return ThrowInvalidOption(env, "size", args[1], "at most the size of the mapping");
  }
  if (!GetInteger(env, args[3], "offset", &offset, range.memory->size() - range.size)) {
    return nullptr;
  }
  range.host = range.memory->data() + offset;

  std::vector<AddressSpaceSnapshot::Range> ranges = snapshot_->ranges();
  for (const auto& other : ranges) {
    if (range.guest_address < other.guest_address + other.size &&
        other.guest_address < range.guest_address + range.size) {
      return ThrowInvalidOption(env, "guestAddress", args[0],
                                "a range that overlaps none added before");
    }
  }
  auto after = std::find_if(ranges.begin(), ranges.end(), [&](const auto& other) {
    return other.guest_address > range.guest_address;
  });
  ranges.insert(after, std::move(range));
  snapshot_ = std::make_shared<AddressSpaceSnapshot>(std::move(ranges));
  return nullptr;
}

napi_value AddressSpace::Close(napi_env, const Args&) {
  closed_ = true;
  snapshot_ = std::make_shared<AddressSpaceSnapshot>(std::vector<AddressSpaceSnapshot::Range>());
  return nullptr;
}

namespace {
napi_value Construct(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!CheckNew<AddressSpace>(env, info)) return nullptr;
  return Wrap(env, args.self, std::make_unique<AddressSpace>());
}
}  // namespace

bool DefineAddressSpace(napi_env env, napi_value exports) {
  napi_property_descriptor members[] = {
      Method<&AddressSpace::Add>("add"),
      Method<&AddressSpace::Close>("close"),
  };
  return DefineClass<AddressSpace>(env, exports, Construct, members);
}

}  // namespace node_kvm
