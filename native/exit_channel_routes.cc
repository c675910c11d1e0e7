// The channel's routes and latches: which accesses the vCPUs' threads serve alone.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "exit_channel.h"
#include "support/args.h"
#include "support/errors.h"
#include "vm_fd.h"

namespace node_kvm {
namespace {

constexpr uint64_t kPioSize = 0x10000;

bool IsRegisterWidth(uint32_t width) { return width == 1 || width == 2 || width == 4; }

// Each offset once, and inside the range.
bool AreRegisters(std::vector<uint32_t> offsets, uint64_t size) {
  std::sort(offsets.begin(), offsets.end());
  return std::adjacent_find(offsets.begin(), offsets.end()) == offsets.end() &&
         std::all_of(offsets.begin(), offsets.end(), [size](uint32_t at) { return at < size; });
}

// `pairs` of an offset and a width.
bool AreLatches(const std::vector<uint32_t>& pairs, uint64_t size) {
  if (pairs.size() % 2 != 0) return false;
  std::vector<uint32_t> offsets;
  for (size_t i = 0; i < pairs.size(); i += 2) {
    if (!IsRegisterWidth(pairs[i + 1]) || pairs[i + 1] > size || pairs[i] > size - pairs[i + 1]) {
      return false;
    }
    offsets.push_back(pairs[i]);
  }
  return AreRegisters(std::move(offsets), size);
}

// Elements over a SharedArrayBuffer, which nobody can detach.
bool KeepShared(napi_env env, napi_value value, const char* option, size_t count,
                const char* expected, uint32_t** data, std::shared_ptr<const void>* keep) {
  Words memory;
  napi_value buffer = nullptr;
  napi_ref ref = nullptr;
  bool detachable = true;
  if (!GetWords(env, value, option, &memory)) return false;
  if (napi_get_typedarray_info(env, value, nullptr, nullptr, nullptr, &buffer, nullptr) !=
          napi_ok ||
      napi_is_arraybuffer(env, buffer, &detachable) != napi_ok || detachable ||
      memory.count != count || napi_create_reference(env, value, 1, &ref) != napi_ok) {
    ThrowInvalidOption(env, option, value, expected);
    return false;
  }
  // Routes go on the JavaScript thread: tables are replaced and freed there.
  keep->reset(memory.data, [env, ref](const void*) { napi_delete_reference(env, ref); });
  *data = memory.data;
  return true;
}

// `words`: the offsets of a status register's read and clear. `bits`: one element.
bool GetStatusRegister(napi_env env, napi_value words, napi_value bits, Space space, uint64_t size,
                       StatusRegister* out) {
  if (IsNullish(env, words)) return true;
  Words offsets;
  if (!GetWords(env, words, "status", &offsets)) return false;
  if (space != Space::kMmio || offsets.count != 2 || size < sizeof *out->bits ||
      offsets.data[0] > size - sizeof *out->bits || offsets.data[1] > size - sizeof *out->bits) {
    ThrowInvalidOption(env, "status", words, "two offsets of 4 bytes inside the size, for mmio");
    return false;
  }
  out->read = offsets.data[0];
  out->clear = offsets.data[1];
  return KeepShared(env, bits, "bits", 1, "a Uint32Array of one element over a SharedArrayBuffer",
                    &out->bits, &out->keep);
}

// `offsets`: of CONFIG_ADDRESS, a posted register, and of CONFIG_DATA.
bool GetSelectedRegisters(napi_env env, napi_value offsets, napi_value memory,
                          const std::vector<uint32_t>& posted, uint64_t size,
                          SelectedRegisters* out) {
  if (IsNullish(env, offsets)) return true;
  Words given;
  if (!GetWords(env, offsets, "selected", &given)) return false;
  if (given.count != 2 || size < sizeof *out->words || given.data[0] > size - sizeof *out->words ||
      given.data[1] > size - sizeof *out->words ||
      std::find(posted.begin(), posted.end(), given.data[0]) == posted.end()) {
    ThrowInvalidOption(env, "selected", offsets,
                       "two offsets of 4 bytes inside the size, the first of a posted write");
    return false;
  }
  out->address = given.data[0];
  out->data = given.data[1];
  return KeepShared(env, memory, "memory", SelectedRegisters::kWords,
                    "a Uint32Array of 2113 elements over a SharedArrayBuffer", &out->words,
                    &out->keep);
}

// `words`: the offset that is written, the one that tells, and the GSI of `vm`'s.
bool GetCauseRegisters(napi_env env, napi_value words, napi_value vm,
                       const std::vector<uint32_t>& posted, const std::vector<uint32_t>& latched,
                       uint64_t size, std::unique_ptr<InterruptCause>* out) {
  if (IsNullish(env, words)) return true;
  Words given;
  if (!GetWords(env, words, "cause", &given)) return false;
  auto is_latched = [&](uint32_t offset) {
    for (size_t i = 0; i < latched.size(); i += 2) {
      if (latched[i] == offset) return true;
    }
    return false;
  };
  if (given.count != 3 || std::find(posted.begin(), posted.end(), given.data[0]) == posted.end() ||
      given.data[1] >= size || is_latched(given.data[1])) {
    ThrowInvalidOption(env, "cause", words,
                       "the offset of a posted write, one inside the size that is not latched, and "
                       "a GSI");
    return false;
  }
  auto* object = Unwrap<VmFd>(env, vm, "vm");
  if (!object) return false;
  if (object->fd() < 0) {
    ThrowClosed(env, "Vm");
    return false;
  }
  KernelIrqLine line = {UniqueFd(fcntl(object->fd(), F_DUPFD_CLOEXEC, 0)), object->resources(),
                        given.data[2]};
  if (!line.vm) {
    ThrowKvmError(env, errno, "fcntl");
    return false;
  }
  if (int error = line.Set(false)) {
    ThrowKvmError(env, error, "KVM_IRQ_LINE");
    return false;
  }
  *out = std::make_unique<InterruptCause>(given.data[0], given.data[1], std::move(line));
  return true;
}

}  // namespace

napi_value ExitChannel::AddRoute(napi_env env, const Args& args) {
  std::string space_name;
  uint64_t base = 0;
  uint64_t size = 0;
  Words posted_words;
  Words latched_words;
  Words settling_words;
  if (!CheckOpen(env) || !GetString(env, args[0], "space", &space_name)) return nullptr;
  if (space_name != "pio" && space_name != "mmio") {
    return ThrowInvalidOption(env, "space", args[0], "'pio' or 'mmio'");
  }
  Space space = space_name == "pio" ? Space::kPio : Space::kMmio;
  uint64_t space_size = space == Space::kPio ? kPioSize : kMaxSafeInteger + 1;
  if (!GetInteger(env, args[1], "base", &base, space_size - 1) ||
      !GetInteger(env, args[2], "size", &size, std::min(space_size - base, kMaxSafeInteger), 1) ||
      !GetWords(env, args[3], "posted", &posted_words) ||
      !GetWords(env, args[4], "latched", &latched_words) ||
      (!IsNullish(env, args[5]) && !GetWords(env, args[5], "settling", &settling_words))) {
    return nullptr;
  }
  StatusRegister status;
  if (!GetStatusRegister(env, args[6], args[7], space, size, &status)) return nullptr;
  std::vector<uint32_t> posted(posted_words.data, posted_words.data + posted_words.count);
  std::vector<uint32_t> latched(latched_words.data, latched_words.data + latched_words.count);
  if (!AreRegisters(posted, size)) {
    return ThrowInvalidOption(env, "posted", args[3], "distinct offsets below the size");
  }
  if (!AreLatches(latched, size)) {
    return ThrowInvalidOption(
        env, "latched", args[4],
        "pairs of a distinct offset and a width of 1, 2 or 4, inside the size");
  }
  std::vector<uint32_t> settling(settling_words.data, settling_words.data + settling_words.count);
  if (!AreRegisters(settling, size) ||
      !std::all_of(settling.begin(), settling.end(), [&](uint32_t offset) {
        return std::find(posted.begin(), posted.end(), offset) != posted.end();
      })) {
    return ThrowInvalidOption(env, "settling", args[5], "distinct offsets of posted writes");
  }
  std::unique_ptr<InterruptCause> cause;
  if (!GetCauseRegisters(env, args[8], args[9], posted, latched, size, &cause)) return nullptr;
  SelectedRegisters selected;
  if (!GetSelectedRegisters(env, args[10], args[11], posted, size, &selected)) return nullptr;
  uint32_t id = next_route_id_++;
  auto route = std::make_shared<Route>(id, space, base, size, std::move(posted), latched,
                                       std::move(settling), std::move(status), std::move(cause),
                                       std::move(selected));
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
