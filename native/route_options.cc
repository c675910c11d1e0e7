#include "route_options.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "support/args.h"
#include "support/errors.h"
#include "vm_fd.h"

namespace node_kvm {
namespace {

constexpr uint64_t kPioSize = 0x10000;

// What was given, each property read once: after that no JavaScript runs, so arrays stay where they
// are. Without a register its properties are nullptr.
struct Given {
  napi_value space = nullptr;
  napi_value base = nullptr;
  napi_value size = nullptr;
  napi_value posted = nullptr;
  napi_value latched = nullptr;
  napi_value settling = nullptr;
  struct {
    napi_value self = nullptr;
    napi_value read = nullptr;
    napi_value clear = nullptr;
    napi_value bits = nullptr;
  } status;
  struct {
    napi_value self = nullptr;
    napi_value written = nullptr;
    napi_value told = nullptr;
    napi_value gsi = nullptr;
    napi_value vm = nullptr;
  } cause;
  struct {
    napi_value self = nullptr;
    napi_value address = nullptr;
    napi_value data = nullptr;
    napi_value memory = nullptr;
  } selected;
};

bool Read(napi_env env, napi_value value, Given* out) {
  auto& [space, base, size, posted, latched, settling, status, cause, selected] = *out;
  return GetProperties(env, value, "route",
                       {{"space", &space},
                        {"base", &base},
                        {"size", &size},
                        {"posted", &posted},
                        {"latched", &latched},
                        {"settling", &settling},
                        {"status", &status.self},
                        {"cause", &cause.self},
                        {"selected", &selected.self}}) &&
         (IsNullish(env, status.self) ||
          GetProperties(
              env, status.self, "status",
              {{"read", &status.read}, {"clear", &status.clear}, {"bits", &status.bits}})) &&
         (IsNullish(env, cause.self) || GetProperties(env, cause.self, "cause",
                                                      {{"written", &cause.written},
                                                       {"told", &cause.told},
                                                       {"gsi", &cause.gsi},
                                                       {"vm", &cause.vm}})) &&
         (IsNullish(env, selected.self) || GetProperties(env, selected.self, "selected",
                                                         {{"address", &selected.address},
                                                          {"data", &selected.data},
                                                          {"memory", &selected.memory}}));
}

bool GetVector(napi_env env, napi_value value, const char* option, std::vector<uint32_t>* out) {
  Words words;
  if (!GetWords(env, value, option, &words)) return false;
  out->assign(words.data, words.data + words.count);
  return true;
}

bool Contains(const std::vector<uint32_t>& offsets, uint32_t offset) {
  return std::find(offsets.begin(), offsets.end(), offset) != offsets.end();
}

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

bool IsLatched(const std::vector<uint32_t>& pairs, uint32_t offset) {
  for (size_t i = 0; i < pairs.size(); i += 2) {
    if (pairs[i] == offset) return true;
  }
  return false;
}

// The offset of a register of `width` bytes inside the size.
bool GetOffset(napi_env env, napi_value value, const char* option, uint64_t size, uint32_t width,
               uint32_t* out) {
  if (size < width) {
    ThrowInvalidOption(env, option, value, "a size with room for the register");
    return false;
  }
  auto last = static_cast<uint32_t>(std::min<uint64_t>(size - width, UINT32_MAX));
  return GetUint32(env, value, option, out, last);
}

bool GetRange(napi_env env, const Given& given, RouteOptions* out) {
  std::string space;
  if (!GetString(env, given.space, "space", &space)) return false;
  if (space != "pio" && space != "mmio") {
    ThrowInvalidOption(env, "space", given.space, "'pio' or 'mmio'");
    return false;
  }
  out->space = space == "pio" ? Space::kPio : Space::kMmio;
  uint64_t end = out->space == Space::kPio ? kPioSize : kMaxSafeInteger + 1;
  return GetInteger(env, given.base, "base", &out->base, end - 1) &&
         GetInteger(env, given.size, "size", &out->size, std::min(end - out->base, kMaxSafeInteger),
                    1);
}

bool GetRegisters(napi_env env, const Given& given, RouteOptions* out) {
  if (!GetVector(env, given.posted, "posted", &out->posted) ||
      !GetVector(env, given.latched, "latched", &out->latched) ||
      (!IsNullish(env, given.settling) &&
       !GetVector(env, given.settling, "settling", &out->settling))) {
    return false;
  }
  if (!AreRegisters(out->posted, out->size)) {
    ThrowInvalidOption(env, "posted", given.posted, "distinct offsets below the size");
    return false;
  }
  if (!AreLatches(out->latched, out->size)) {
    ThrowInvalidOption(env, "latched", given.latched,
                       "pairs of a distinct offset and a width of 1, 2 or 4, inside the size");
    return false;
  }
  if (!AreRegisters(out->settling, out->size) ||
      !std::all_of(out->settling.begin(), out->settling.end(),
                   [&](uint32_t offset) { return Contains(out->posted, offset); })) {
    ThrowInvalidOption(env, "settling", given.settling, "distinct offsets of posted writes");
    return false;
  }
  return true;
}

// Elements over a SharedArrayBuffer, which nobody can detach.
bool KeepShared(napi_env env, napi_value value, const char* option, size_t count, uint32_t** data,
                std::shared_ptr<const void>* keep) {
  Words memory;
  napi_value buffer = nullptr;
  napi_ref ref = nullptr;
  bool detachable = true;
  if (!GetWords(env, value, option, &memory)) return false;
  if (napi_get_typedarray_info(env, value, nullptr, nullptr, nullptr, &buffer, nullptr) !=
          napi_ok ||
      napi_is_arraybuffer(env, buffer, &detachable) != napi_ok || detachable ||
      memory.count != count || napi_create_reference(env, value, 1, &ref) != napi_ok) {
    ThrowInvalidOption(
        env, option, value,
        "a Uint32Array over a SharedArrayBuffer, of length " + std::to_string(count));
    return false;
  }
  // Routes go on the JavaScript thread: tables are replaced and freed there.
  keep->reset(memory.data, [env, ref](const void*) { napi_delete_reference(env, ref); });
  *data = memory.data;
  return true;
}

bool GetStatusRegister(napi_env env, const Given& given, RouteOptions* out) {
  const auto& [self, read, clear, bits] = given.status;
  if (IsNullish(env, self)) return true;
  if (out->space != Space::kMmio) {
    ThrowInvalidOption(env, "status", self, "undefined in space 'pio'");
    return false;
  }
  StatusRegister& status = out->status;
  return GetOffset(env, read, "status.read", out->size, sizeof *status.bits, &status.read) &&
         GetOffset(env, clear, "status.clear", out->size, sizeof *status.bits, &status.clear) &&
         KeepShared(env, bits, "status.bits", 1, &status.bits, &status.keep);
}

bool GetSelectedRegisters(napi_env env, const Given& given, RouteOptions* out) {
  const auto& [self, address, data, memory] = given.selected;
  if (IsNullish(env, self)) return true;
  SelectedRegisters& selected = out->selected;
  constexpr uint32_t kWidth = sizeof *selected.words;
  if (!GetOffset(env, address, "selected.address", out->size, kWidth, &selected.address) ||
      !GetOffset(env, data, "selected.data", out->size, kWidth, &selected.data)) {
    return false;
  }
  if (!Contains(out->posted, selected.address)) {
    ThrowInvalidOption(env, "selected.address", address, "the offset of a posted write");
    return false;
  }
  return KeepShared(env, memory, "selected.memory", SelectedRegisters::kWords, &selected.words,
                    &selected.keep);
}

// Takes the line down, so it is the last to be looked at.
bool GetCause(napi_env env, const Given& given, RouteOptions* out) {
  const auto& [self, written_value, told_value, gsi_value, vm_value] = given.cause;
  if (IsNullish(env, self)) return true;
  uint32_t written = 0;
  uint32_t told = 0;
  uint32_t gsi = 0;
  if (!GetOffset(env, written_value, "cause.written", out->size, 1, &written) ||
      !GetOffset(env, told_value, "cause.told", out->size, 1, &told) ||
      !GetUint32(env, gsi_value, "cause.gsi", &gsi)) {
    return false;
  }
  if (!Contains(out->posted, written)) {
    ThrowInvalidOption(env, "cause.written", written_value, "the offset of a posted write");
    return false;
  }
  if (IsLatched(out->latched, told)) {
    ThrowInvalidOption(env, "cause.told", told_value, "the offset of a register without a latch");
    return false;
  }
  auto* vm = Unwrap<VmFd>(env, vm_value, "cause.vm");
  if (!vm) return false;
  if (vm->fd() < 0) {
    ThrowClosed(env, "Vm");
    return false;
  }
  KernelIrqLine line = {UniqueFd(fcntl(vm->fd(), F_DUPFD_CLOEXEC, 0)), vm->resources(), gsi};
  if (!line.vm) {
    ThrowKvmError(env, errno, "fcntl");
    return false;
  }
  if (int error = line.Set(false)) {
    ThrowKvmError(env, error, "KVM_IRQ_LINE");
    return false;
  }
  out->cause = std::make_unique<InterruptCause>(written, told, std::move(line));
  return true;
}

}  // namespace

bool GetRouteOptions(napi_env env, napi_value value, RouteOptions* out) {
  Given given;
  return Read(env, value, &given) && GetRange(env, given, out) && GetRegisters(env, given, out) &&
         GetStatusRegister(env, given, out) && GetSelectedRegisters(env, given, out) &&
         GetCause(env, given, out);
}

}  // namespace node_kvm
