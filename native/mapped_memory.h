#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "support/unique_fd.h"

namespace node_kvm {

constexpr size_t kPageSize = 4096;
constexpr size_t kHugePage2M = size_t{1} << 21;
constexpr size_t kHugePage1G = size_t{1} << 30;

// Memory that a guest may be given: unmapped when the last reference of any kind goes, in whatever
// thread or environment that is (a JavaScript view, a memory slot of a VM, I/O in flight).
// Unreadable guard pages lie on both sides. Not inherited by child processes and left out of core
// dumps.
class MappedMemory {
 public:
  struct Options {
    bool shared = true;         // a memfd; else private anonymous memory
    size_t huge_page_size = 0;  // 0, 2 MiB or 1 GiB
    // Writable pages of a known pattern instead of guard pages, see CanariesIntact.
    bool canaries = false;
    std::string name = "node-kvm-guest-memory";
    int fd = -1;  // an open memfd that cannot shrink, in place of a new one
  };

  // `size` is a multiple of the page size. On failure nullptr with the errno and the system call's
  // name.
  static std::shared_ptr<MappedMemory> Create(size_t size, const Options& options, int* error,
                                              const char** syscall);
  ~MappedMemory();
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  // -1 for anonymous memory.
  int fd() const { return fd_.get(); }
  // Names the mapping to the other environments of this process; never used twice.
  uint64_t id() const { return id_; }
  // Whether anything wrote just before or just past the memory. True without canaries.
  bool CanariesIntact() const;

  // The mapping of that id, if it still lives.
  static std::shared_ptr<MappedMemory> Find(uint64_t id);

 private:
  MappedMemory() = default;
  // Steps of Create. Each returns the system call that failed, with its errno; nullptr if none has.
  const char* OpenFile(size_t size, const Options& options);
  const char* Map(size_t size, const Options& options);
  const char* PlaceCanaries();

  UniqueFd fd_;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  uint8_t* reserved_ = nullptr;  // the address range with its guards
  size_t reserved_size_ = 0;
  bool canaries_ = false;
  uint64_t id_ = 0;
};

}  // namespace node_kvm
