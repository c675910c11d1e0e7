#include "support/checked_ioctl.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "support/args.h"
#include "support/errors.h"

namespace node_kvm {
namespace {

const IoctlEntry* Find(uint32_t request, FdKind kind) {
  for (const IoctlEntry& entry : kIoctlTable) {
    if (entry.request == request && (entry.fds & kind)) return &entry;
  }
  return nullptr;
}

napi_value Result(napi_env env, int result, const IoctlEntry& entry) {
  if (result < 0) return ThrowKvmError(env, -result, entry.name);
  return MakeInt32(env, result);
}

// Bytes of an argument that says its own length; false with an exception pending if it does not fit
// `bytes`.
bool SelfDescribedSize(napi_env env, const IoctlEntry& entry, napi_value argument,
                       const Bytes& bytes, size_t* size) {
  const IoctlArgument& form = entry.argument;
  uint64_t count = 0;
  // Little-endian: a count of 4 bytes leaves the upper half 0.
  if (bytes.size >= form.size) std::memcpy(&count, bytes.data + form.count_offset, form.count_size);
  if (form.kind == IoctlArgument::kSized) {
    *size = std::max<uint64_t>(count, form.size);
  } else {
    // Past the largest buffer there can be, whose exact size then no longer matters.
    *size =
        form.size + std::min<uint64_t>(count, kMaxSafeInteger / form.entry_size) * form.entry_size;
  }
  if (bytes.size >= form.size && bytes.size >= *size) return true;
  std::string expected = "at least " + std::to_string(bytes.size < form.size ? form.size : *size) +
                         " bytes, as its own count says";
  ThrowInvalidOption(env, "argument", argument, expected);
  return false;
}

}  // namespace

napi_value CheckedIoctl(napi_env env, int fd, FdKind kind, const Args& args, uint32_t xsave_size) {
  uint32_t request = 0;
  if (!GetUint32(env, args[0], "request", &request)) return nullptr;
  const IoctlEntry* entry = Find(request, kind);
  if (!entry) {
    return ThrowInvalidOption(env, "request", args[0], "an ioctl listed for this descriptor");
  }
  const IoctlArgument& form = entry->argument;
  if (form.kind == IoctlArgument::kNamed) {
    return ThrowInvalidOption(
        env, "request", args[0],
        std::string("a plain-data ioctl; ") + entry->name + " has a method of its own");
  }
  ForIoctl naming(entry->name);
  if (form.kind == IoctlArgument::kNone || form.kind == IoctlArgument::kValue) {
    uint64_t value = 0;
    if (form.kind == IoctlArgument::kNone) {
      if (!IsNullish(env, args[1]) && !GetInteger(env, args[1], "argument", &value, 0)) {
        return nullptr;
      }
    } else if (!GetInteger(env, args[1], "argument", &value)) {
      return nullptr;
    }
    return Result(env, Ioctl(fd, request, value), *entry);
  }

  Bytes bytes;
  if (!GetBytes(env, args[1], "argument", &bytes)) return nullptr;
  size_t size = form.size;
  if (form.kind == IoctlArgument::kXsave) size = std::max<size_t>(size, xsave_size);
  if (form.kind == IoctlArgument::kList || form.kind == IoctlArgument::kSized) {
    if (!SelfDescribedSize(env, *entry, args[1], bytes, &size)) return nullptr;
    // The kernel reads the count again: from a copy that no other thread (of a SharedArrayBuffer)
    // can change.
    auto copy = std::make_unique<uint8_t[]>(size);
    std::memcpy(copy.get(), bytes.data, size);
    size_t described = 0;
    Bytes copied = {copy.get(), size};
    if (!SelfDescribedSize(env, *entry, args[1], copied, &described)) return nullptr;
    int result = Ioctl(fd, request, copy.get());
    // Also after an error: E2BIG comes with the count that would have been enough.
    if (_IOC_DIR(request) & _IOC_READ) std::memcpy(bytes.data, copy.get(), size);
    return Result(env, result, *entry);
  }
  if (bytes.size < size) {
    return ThrowInvalidOption(
        env, "argument", args[1],
        "at least " + std::to_string(size) + " bytes, not " + std::to_string(bytes.size));
  }
  if (form.refused_type) {
    uint16_t type = 0;
    auto copy = std::make_unique<uint8_t[]>(size);
    std::memcpy(copy.get(), bytes.data, size);
    std::memcpy(&type, copy.get(), sizeof type);
    if (type == form.refused_type) {
      return ThrowInvalidOption(env, "argument", args[1], "a type that holds no host address");
    }
    return Result(env, Ioctl(fd, request, copy.get()), *entry);
  }
  return Result(env, Ioctl(fd, request, bytes.data), *entry);
}

napi_value DeviceAttr(napi_env env, int fd, FdKind kind, const Args& args) {
  uint32_t request = 0;
  kvm_device_attr attr = {};
  uint64_t attribute = 0;
  if (!GetUint32(env, args[0], "operation", &request)) return nullptr;
  const IoctlEntry* entry = Find(request, kind);
  if (!entry || (request != KVM_SET_DEVICE_ATTR && request != KVM_GET_DEVICE_ATTR &&
                 request != KVM_HAS_DEVICE_ATTR)) {
    return ThrowInvalidOption(env, "operation", args[0],
                              "KVM_SET_DEVICE_ATTR, KVM_GET_DEVICE_ATTR or KVM_HAS_DEVICE_ATTR");
  }
  ForIoctl naming(entry->name);
  // What an attribute reads or writes is known to the kernel alone; on x86 it is 16 bytes at the
  // most.
  constexpr size_t kRoom = 4096;
  auto room = std::make_unique<uint8_t[]>(kRoom);
  Bytes bytes;
  if (!GetUint32(env, args[1], "group", &attr.group) ||
      !GetInteger(env, args[2], "attribute", &attribute) ||
      !GetUint32(env, args[3], "flags", &attr.flags)) {
    return nullptr;
  }
  if (!IsNullish(env, args[4]) && !GetBytes(env, args[4], "bytes", &bytes)) return nullptr;
  if (bytes.size > kRoom) {
    return ThrowInvalidOption(env, "bytes", args[4], "at most 4096 bytes");
  }
  if (bytes.size) std::memcpy(room.get(), bytes.data, bytes.size);
  attr.attr = attribute;
  attr.addr = reinterpret_cast<uintptr_t>(room.get());
  int result = Ioctl(fd, request, &attr);
  if (request == KVM_HAS_DEVICE_ATTR) {
    if (result == -ENXIO || result == -EINVAL || result == -ENOTTY) return MakeBool(env, false);
    if (result == 0) return MakeBool(env, true);
  }
  if (result < 0) return ThrowKvmError(env, -result, entry->name);
  if (request == KVM_GET_DEVICE_ATTR && bytes.size) {
    std::memcpy(bytes.data, room.get(), bytes.size);
  }
  return MakeBool(env, true);
}

napi_value ListIoctls(napi_env env, napi_callback_info) {
  static constexpr const char* kKinds[] = {"none",  "value", "struct", "list",
                                           "sized", "xsave", "named"};
  napi_value list = nullptr;
  napi_create_array(env, &list);
  uint32_t index = 0;
  for (const IoctlEntry& entry : kIoctlTable) {
    napi_value row = nullptr;
    napi_value text = nullptr;
    napi_create_object(env, &row);
    napi_create_string_utf8(env, entry.name, NAPI_AUTO_LENGTH, &text);
    napi_set_named_property(env, row, "name", text);
    napi_set_named_property(env, row, "request", MakeNumber(env, entry.request));
    napi_set_named_property(env, row, "fds", MakeNumber(env, entry.fds));
    napi_create_string_utf8(env, kKinds[entry.argument.kind], NAPI_AUTO_LENGTH, &text);
    napi_set_named_property(env, row, "kind", text);
    napi_set_named_property(env, row, "size", MakeNumber(env, entry.argument.size));
    napi_set_named_property(env, row, "entrySize", MakeNumber(env, entry.argument.entry_size));
    napi_set_element(env, list, index++, row);
  }
  return list;
}

}  // namespace node_kvm
