#include "mapped_memory.h"

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

// Since Linux 5.17.
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

namespace node_kvm {
namespace {

constexpr uint8_t kCanary = 0xc5;

// MAP_HUGE_SHIFT and MFD_HUGE_SHIFT are both 26; the field holds the logarithm of the page size.
unsigned HugeFlags(size_t huge_page_size) {
  if (huge_page_size == 0) return 0;
  return (huge_page_size == kHugePage1G ? 30u : 21u) << 26;
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
                     : size >= kHugePage2M  ? kHugePage2M
                                            : kPageSize;
  if (size > SIZE_MAX - 2 * alignment - 2 * kPageSize) {
    errno = ENOMEM;
    return "mmap";
  }
  size_t reserved_size = size + alignment + 2 * kPageSize;
  void* reserved =
      mmap(nullptr, reserved_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return "mmap";
  reserved_ = static_cast<uint8_t*>(reserved);
  reserved_size_ = reserved_size;
  auto start = reinterpret_cast<uintptr_t>(reserved) + kPageSize;
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
    if (!options.huge_page_size && size >= kHugePage2M) madvise(data, size, MADV_HUGEPAGE);
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, data, size, options.name.c_str());
  }
  return nullptr;
}

const char* MappedMemory::PlaceCanaries() {
  for (uint8_t* page : {data_ - kPageSize, data_ + size_}) {
    if (mmap(page, kPageSize, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1,
             0) == MAP_FAILED) {
      return "mmap";
    }
    std::memset(page, kCanary, kPageSize);
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
    return std::all_of(page, page + kPageSize, [](uint8_t byte) { return byte == kCanary; });
  };
  return intact(data_ - kPageSize) && intact(data_ + size_);
}

std::shared_ptr<MappedMemory> MappedMemory::Find(uint64_t id) {
  std::lock_guard lock(registry().mutex);
  auto found = registry().live.find(id);
  return found == registry().live.end() ? nullptr : found->second.lock();
}

}  // namespace node_kvm
