#include "mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "support/args.h"
#include "support/errors.h"

// Since Linux 5.17.
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

namespace node_kvm {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kHuge2M = size_t{1} << 21;
constexpr size_t kHuge1G = size_t{1} << 30;
constexpr uint8_t kCanary = 0xc5;

// MAP_HUGE_SHIFT and MFD_HUGE_SHIFT are both 26; the field holds the logarithm of the page size.
unsigned HugeFlags(size_t huge_page_size) {
  if (huge_page_size == 0) return 0;
  return (huge_page_size == kHuge1G ? 30u : 21u) << 26;
}

// Never destroyed: mappings can outlive static destruction in a thread that process.exit() leaves
// running.
struct Registry {
  std::mutex mutex;
  uint64_t next_id = 1;
  std::unordered_map<uint64_t, std::weak_ptr<MappedMemory>> live;
};
Registry& registry() {
  static auto* instance = new Registry;
  return *instance;
}

}  // namespace

// A memfd that shrank would turn an access into SIGBUS.
const char* MappedMemory::OpenFile(size_t size, const Options& options) {
  if (options.fd >= 0) {
    fd_.reset(fcntl(options.fd, F_DUPFD_CLOEXEC, 0));
    if (!fd_) return "fcntl";
    struct stat status = {};
    int seals = fcntl(options.fd, F_GET_SEALS);
    if (fstat(options.fd, &status) < 0) return "fstat";
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || static_cast<uint64_t>(status.st_size) < size) {
      errno = EINVAL;
      return "fcntl";
    }
  } else if (options.shared) {
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    if (options.huge_page_size) flags |= MFD_HUGETLB | HugeFlags(options.huge_page_size);
    fd_.reset(memfd_create(options.name.c_str(), flags));
    if (!fd_) return "memfd_create";
    if (ftruncate(fd_.get(), static_cast<off_t>(size)) < 0) return "ftruncate";
    fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  }
  return nullptr;
}

// Aligned so that transparent or real huge pages can back it from the first byte.
const char* MappedMemory::Map(size_t size, const Options& options) {
  size_t alignment = options.huge_page_size ? options.huge_page_size
                     : size >= kHuge2M      ? kHuge2M
                                            : kPage;
  if (size > SIZE_MAX - 2 * alignment - 2 * kPage) {
    errno = ENOMEM;
    return "mmap";
  }
  size_t reserved_size = size + alignment + 2 * kPage;
  void* reserved =
      mmap(nullptr, reserved_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return "mmap";
  reserved_ = static_cast<uint8_t*>(reserved);
  reserved_size_ = reserved_size;
  auto start = reinterpret_cast<uintptr_t>(reserved) + kPage;
  auto* data = reinterpret_cast<uint8_t*>((start + alignment - 1) & ~(alignment - 1));

  int flags = MAP_FIXED | (options.shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
  if (!options.huge_page_size) {
    flags |= MAP_NORESERVE;
  } else if (!options.shared) {
    flags |= MAP_HUGETLB | static_cast<int>(HugeFlags(options.huge_page_size));
  }
  if (mmap(data, size, PROT_READ | PROT_WRITE, flags, fd_.get(), 0) == MAP_FAILED) return "mmap";
  data_ = data;
  size_ = size;
  if (madvise(data, size, MADV_DONTFORK) < 0 || madvise(data, size, MADV_DONTDUMP) < 0) {
    return "madvise";
  }
  if (!options.shared) {
    // Neither is in every kernel, and nothing but speed and a line in /proc/PID/maps depends on
    // them.
    if (!options.huge_page_size && size >= kHuge2M) madvise(data, size, MADV_HUGEPAGE);
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, data, size, options.name.c_str());
  }
  return nullptr;
}

const char* MappedMemory::PlaceCanaries() {
  for (uint8_t* page : {data_ - kPage, data_ + size_}) {
    if (mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
        MAP_FAILED) {
      return "mmap";
    }
    std::memset(page, kCanary, kPage);
  }
  canaries_ = true;
  return nullptr;
}

std::shared_ptr<MappedMemory> MappedMemory::Create(size_t size, const Options& options, int* error,
                                                   const char** syscall) {
  std::shared_ptr<MappedMemory> memory(new MappedMemory);
  const char* failed = memory->OpenFile(size, options);
  if (!failed) failed = memory->Map(size, options);
  if (!failed && options.canaries) failed = memory->PlaceCanaries();
  if (failed) {
    *error = errno;
    *syscall = failed;
    return nullptr;
  }
  std::lock_guard lock(registry().mutex);
  memory->id_ = registry().next_id++;
  registry().live.emplace(memory->id_, memory);
  return memory;
}

MappedMemory::~MappedMemory() {
  if (id_) {
    std::lock_guard lock(registry().mutex);
    registry().live.erase(id_);
  }
  if (reserved_) munmap(reserved_, reserved_size_);
}

bool MappedMemory::CanariesIntact() const {
  if (!canaries_) return true;
  auto intact = [](const uint8_t* page) {
    return std::all_of(page, page + kPage, [](uint8_t byte) { return byte == kCanary; });
  };
  return intact(data_ - kPage) && intact(data_ + size_);
}

std::shared_ptr<MappedMemory> MappedMemory::Find(uint64_t id) {
  std::lock_guard lock(registry().mutex);
  auto found = registry().live.find(id);
  return found == registry().live.end() ? nullptr : found->second.lock();
}

// The buffers live on, and keep the memory: only the means to find them go.
BufferSet::~BufferSet() {
  for (const Entry& entry : entries_) napi_delete_reference(env_, entry.ref);
}

napi_value BufferSet::Make(napi_env env, std::shared_ptr<const void> owner, uint8_t* data,
                           size_t size) {
  env_ = env;
  auto gone = [&](const Entry& entry) {
    if (!*entry.collected) return false;
    napi_delete_reference(env, entry.ref);
    return true;
  };
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(), gone), entries_.end());
  for (const Entry& entry : entries_) {
    napi_value buffer = nullptr;
    bool detached = true;
    if (entry.data == data && entry.size == size &&
        napi_get_reference_value(env, entry.ref, &buffer) == napi_ok && buffer &&
        napi_is_detached_arraybuffer(env, buffer, &detached) == napi_ok && !detached) {
      return buffer;
    }
  }

  struct Hint {
    std::shared_ptr<const void> owner;
    std::shared_ptr<bool> collected;
  };
  auto* hint = new Hint{std::move(owner), std::make_shared<bool>(false)};
  auto finalize = [](napi_env, void*, void* data) {
    auto* finished = static_cast<Hint*>(data);
    *finished->collected = true;
    delete finished;
  };
  napi_value buffer = nullptr;
  napi_status status = napi_create_external_arraybuffer(env, data, size, finalize, hint, &buffer);
  if (status != napi_ok) {
    delete hint;
    if (status == napi_no_external_buffers_allowed) {
      return ThrowVmmError(env, "ERR_PLATFORM",
                           "this runtime refuses ArrayBuffers over memory outside its heap");
    }
    return ThrowVmmError(env, "ERR_STATE", "an ArrayBuffer over the mapping could not be made");
  }
  Entry entry = {nullptr, data, size, &hint->owner, hint->collected};
  if (napi_create_reference(env, buffer, 0, &entry.ref) != napi_ok) return nullptr;
  entries_.push_back(std::move(entry));
  return buffer;
}

void BufferSet::DetachAll(napi_env env) {
  for (Entry& entry : entries_) {
    napi_value buffer = nullptr;
    bool detached = true;
    // A buffer that somebody else detached may live on elsewhere (ArrayBuffer.prototype.transfer):
    // its memory stays until the finalizer has run.
    if (!*entry.collected && napi_get_reference_value(env, entry.ref, &buffer) == napi_ok &&
        buffer && napi_is_detached_arraybuffer(env, buffer, &detached) == napi_ok && !detached &&
        napi_detach_arraybuffer(env, buffer) == napi_ok && !*entry.collected) {
      entry.owner->reset();
    }
    napi_delete_reference(env, entry.ref);
  }
  entries_.clear();
}

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
  if (offset % kPage || length % kPage) {
    return ThrowInvalidOption(env, offset % kPage ? "offset" : "length",
                              args[offset % kPage ? 0 : 1], "a multiple of 4096");
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
    if (size != 0 && size != kHuge2M && size != kHuge1G) {
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
  size_t unit = options.huge_page_size ? options.huge_page_size : kPage;
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
