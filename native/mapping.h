#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "support/class.h"
#include "support/unique_fd.h"

namespace node_kvm {

// Memory that a guest may be given: unmapped when the last reference of any kind goes, in whatever
// thread or environment that is (a JavaScript view, a memory slot of a VM, I/O in flight).
// Unreadable guard pages lie on both sides. Not inherited by child processes and left out of core
// dumps.
class MappedMemory {
 public:
  struct Options {
    bool shared = true;         // a memfd; else private anonymous memory
    size_t huge_page_size = 0;  // 0, 2 MiB or 1 GiB
    bool canaries =
        false;  // writable pages of a known pattern instead of guard pages, see CanariesIntact
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

// The ArrayBuffers that one object has given out over memory that it can take back.
class BufferSet {
 public:
  BufferSet() = default;
  ~BufferSet();
  BufferSet(const BufferSet&) = delete;
  BufferSet& operator=(const BufferSet&) = delete;

  // An ArrayBuffer over `[data, data + size)` that keeps `owner` alive until it is detached or
  // collected. The same range gives the same ArrayBuffer while that lives. nullptr with an
  // exception pending on failure.
  napi_value Make(napi_env env, std::shared_ptr<const void> owner, uint8_t* data, size_t size);
  // Detaches every buffer; their references to the owner go at once.
  void DetachAll(napi_env env);

 private:
  struct Entry {
    napi_ref ref;
    uint8_t* data;
    size_t size;
    // Owned by the ArrayBuffer's finalizer.
    std::shared_ptr<const void>* owner;
    std::shared_ptr<bool> collected;
  };
  napi_env env_ = nullptr;
  std::vector<Entry> entries_;
};

// The JavaScript class.
class Mapping {
 public:
  static constexpr char kName[] = "Mapping";
  explicit Mapping(std::shared_ptr<MappedMemory> memory) : memory_(std::move(memory)) {}

  // nullptr once closed.
  const std::shared_ptr<MappedMemory>& memory() const { return memory_; }

  napi_value Size(napi_env env);
  napi_value Id(napi_env env);
  napi_value Fd(napi_env env);
  napi_value Buffer(napi_env env, const Args& args);
  napi_value Discard(napi_env env, const Args& args);
  // KSM may merge pages that are alike.
  napi_value SetMergeable(napi_env env, const Args& args);
  // Keeps what is touched from being swapped out.
  napi_value Lock(napi_env env, const Args& args);
  // Takes the pages of a range from the host now.
  napi_value Populate(napi_env env, const Args& args);
  // From which of the host's NUMA nodes the memory, or a range of it, is to come.
  napi_value Bind(napi_env env, const Args& args);
  napi_value CanariesIntact(napi_env env, const Args& args);
  napi_value Close(napi_env env, const Args& args);

 private:
  // The arguments offset and length from `first` on, inside the memory; false with an exception
  // pending.
  bool GetRange(napi_env env, const Args& args, uint64_t* offset, uint64_t* length,
                size_t first = 0);

  std::shared_ptr<MappedMemory> memory_;
  BufferSet buffers_;
};

bool DefineMapping(napi_env env, napi_value exports);

}  // namespace node_kvm
