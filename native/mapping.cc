#include "mapping.h"

#include <sys/mman.h>

#include <cerrno>
#include <string>

#include "support/args.h"
#include "support/errors.h"

namespace node_kvm {

napi_value Mapping::Size(napi_env env) {
  return MakeNumber(env, memory_ ? static_cast<double>(memory_->size()) : 0);
}

napi_value Mapping::Fd(napi_env env) { return MakeInt32(env, memory_ ? memory_->fd() : -1); }

napi_value Mapping::Id(napi_env env) {
  if (!memory_) return ThrowClosed(env, "mapping");
  return MakeNumber(env, static_cast<double>(memory_->id()));
}

bool Mapping::GetRange(napi_env env, const Args& args, uint64_t* offset, uint64_t* length,
                       size_t first) {
  if (!memory_) {
    ThrowClosed(env, "mapping");
    return false;
  }
  return GetInteger(env, args[first], "offset", offset, memory_->size()) &&
         GetInteger(env, args[first + 1], "length", length, memory_->size() - *offset);
}

napi_value Mapping::Buffer(napi_env env, const Args& args) {
  uint64_t offset = 0;
  uint64_t length = 0;
  if (!GetRange(env, args, &offset, &length)) return nullptr;
  return buffers_.Make(env, memory_, memory_->data() + offset, length);
}

// Gives the pages of a range back to the host; they read as zeros afterwards.
napi_value Mapping::Discard(napi_env env, const Args& args) {
  uint64_t offset = 0;
  uint64_t length = 0;
  if (!GetRange(env, args, &offset, &length)) return nullptr;
  if (offset % kPageSize || length % kPageSize) {
    return ThrowInvalidOption(env, offset % kPageSize ? "offset" : "length",
                              args[offset % kPageSize ? 0 : 1], "a multiple of 4096");
  }
  int advice = memory_->fd() >= 0 ? MADV_REMOVE : MADV_DONTNEED;
  if (length && madvise(memory_->data() + offset, length, advice) < 0) {
    return ThrowKvmError(env, errno, "madvise");
  }
  return nullptr;
}

napi_value Mapping::CanariesIntact(napi_env env, const Args&) {
  if (!memory_) return ThrowClosed(env, "mapping");
  return MakeBool(env, memory_->CanariesIntact());
}

napi_value Mapping::Close(napi_env env, const Args&) {
  buffers_.DetachAll(env);
  memory_.reset();
  return nullptr;
}

namespace {

bool ReadOptions(napi_env env, napi_value value, MappedMemory::Options* options) {
  if (IsNullish(env, value)) return true;
  napi_value kind = nullptr;
  napi_value huge = nullptr;
  napi_value name = nullptr;
  napi_value canaries = nullptr;
  napi_value fd = nullptr;
  if (!GetProperties(env, value, "options",
                     {{"kind", &kind},
                      {"hugePageSize", &huge},
                      {"name", &name},
                      {"fd", &fd},
                      {"canaries", &canaries}})) {
    return false;
  }
  if (!IsNullish(env, kind)) {
    std::string text;
    if (!GetString(env, kind, "kind", &text)) return false;
    if (text != "memfd" && text != "anonymous") {
      ThrowInvalidOption(env, "kind", kind, "'memfd' or 'anonymous'");
      return false;
    }
    options->shared = text == "memfd";
  }
  if (!IsNullish(env, fd)) {
    uint32_t number = 0;
    if (!GetUint32(env, fd, "fd", &number, INT32_MAX)) return false;
    options->fd = static_cast<int>(number);
    options->shared = true;
  }
  if (!IsNullish(env, huge)) {
    uint64_t size = 0;
    if (!GetInteger(env, huge, "hugePageSize", &size)) return false;
    if (size != 0 && size != kHugePage2M && size != kHugePage1G) {
      ThrowInvalidOption(env, "hugePageSize", huge, "0, 2 MiB or 1 GiB");
      return false;
    }
    options->huge_page_size = size;
  }
  // memfd_create's bound on a name.
  if (!IsNullish(env, name) && !GetString(env, name, "name", &options->name, 249)) return false;
  if (!IsNullish(env, canaries)) {
    if (napi_get_value_bool(env, canaries, &options->canaries) != napi_ok) {
      ThrowInvalidOption(env, "canaries", canaries, "a boolean");
      return false;
    }
  }
  return true;
}

napi_value Construct(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!CheckNew<Mapping>(env, info)) return nullptr;
  MappedMemory::Options options;
  uint64_t size = 0;
  if (!GetInteger(env, args[0], "size", &size, kMaxSafeInteger, 1) ||
      !ReadOptions(env, args[1], &options)) {
    return nullptr;
  }
  size_t unit = options.huge_page_size ? options.huge_page_size : kPageSize;
  if (size % unit) {
    return ThrowInvalidOption(env, "size", args[0], "a multiple of " + std::to_string(unit));
  }
  int error = 0;
  const char* syscall = nullptr;
  auto memory = MappedMemory::Create(size, options, &error, &syscall);
  if (!memory) {
    bool no_huge_pages = error == ENOMEM && options.huge_page_size;
    return ThrowKvmError(env, error, syscall,
                         no_huge_pages ? "the host has too few free huge pages" : nullptr);
  }
  return Wrap(env, args.self, std::make_unique<Mapping>(std::move(memory)));
}

// binding.findMapping(id): undefined if no mapping of that id lives. The Mapping's class is the
// callback's data.
napi_value FindMapping(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value arg = nullptr;
  void* unused = nullptr;
  napi_get_cb_info(env, info, &count, &arg, nullptr, &unused);
  uint64_t id = 0;
  if (!GetInteger(env, arg, "id", &id)) return nullptr;
  auto memory = MappedMemory::Find(id);
  if (!memory) return nullptr;
  return NewInstance(env, &EnvData::shared_mapping_class,
                     std::make_unique<Mapping>(std::move(memory)));
}

}  // namespace

bool DefineMapping(napi_env env, napi_value exports) {
  napi_property_descriptor members[] = {
      Getter<&Mapping::Size>("size"),       Getter<&Mapping::Id>("id"),
      Getter<&Mapping::Fd>("fd"),           Method<&Mapping::Buffer>("buffer"),
      Method<&Mapping::Discard>("discard"), Method<&Mapping::SetMergeable>("setMergeable"),
      Method<&Mapping::Lock>("lock"),       Method<&Mapping::Populate>("populate"),
      Method<&Mapping::Bind>("bind"),       Method<&Mapping::CanariesIntact>("canariesIntact"),
      Method<&Mapping::Close>("close"),
  };
  napi_value find = nullptr;
  return DefineClass<Mapping>(env, exports, Construct, members) &&
         // The same members once more, for objects over memory that another environment made.
         DefinePrivateClass<Mapping>(env, &EnvData::shared_mapping_class, members) &&
         napi_create_function(env, "findMapping", NAPI_AUTO_LENGTH, FindMapping, nullptr, &find) ==
             napi_ok &&
         napi_set_named_property(env, exports, "findMapping", find) == napi_ok;
}

}  // namespace node_kvm
