#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "interrupt_cause.h"
#include "selected_registers.h"

namespace node_kvm {

enum class Space : uint8_t { kPio, kMmio };

// The value that reads of one register get while it is not kUnlatched. Written by the JavaScript
// thread, read by vCPU threads.
struct Latch {
  static constexpr int64_t kUnlatched = -1;
  uint32_t offset;
  uint32_t width;  // 1, 2 or 4; reads of another width, or at an offset within, do not match
  std::atomic<int64_t> value{kUnlatched};
};

// A register of bits that JavaScript sets in `bits`, memory of its own that `keep` holds: reads of
// 4 bytes at `read` get them, writes of 4 bytes at `clear` clear those that are set in what is
// written.
struct StatusRegister {
  uint32_t read = 0;
  uint32_t clear = 0;
  uint32_t* bits = nullptr;  // null: the route has no such register
  std::shared_ptr<const void> keep;

  bool IsReadAt(uint64_t offset, uint32_t width) const {
    return bits && offset == read && width == sizeof *bits;
  }
  bool IsClearedAt(uint64_t offset, uint32_t width) const {
    return bits && offset == clear && width == sizeof *bits;
  }
  uint32_t Load() const { return std::atomic_ref(*bits).load(std::memory_order_seq_cst); }
  // In force before the guest goes on: it looks for more work after this.
  void Clear(uint32_t mask) const {
    std::atomic_ref(*bits).fetch_and(~mask, std::memory_order_seq_cst);
  }
};

// What a route is made of. Offsets are relative to `base`, and with their widths inside the size.
struct RouteOptions {
  Space space = Space::kPio;
  uint64_t base = 0;
  uint64_t size = 0;
  std::vector<uint32_t> posted;
  std::vector<uint32_t> latched;   // pairs of an offset and a width
  std::vector<uint32_t> settling;  // among `posted`
  StatusRegister status;
  std::unique_ptr<InterruptCause> cause;
  SelectedRegisters selected;
};

// One range of ports or guest-physical addresses, and which accesses to it need no JavaScript.
// Unchangeable but for the latches' values and the count of writes to settle.
//
// Some posted writes change what latched registers read: from such a write until JavaScript has
// handled it, latches answer nobody.
class Route {
 public:
  Route(uint32_t id, RouteOptions options);

  uint32_t id() const { return id_; }
  Space space() const { return space_; }
  uint64_t base() const { return base_; }
  uint64_t size() const { return size_; }
  bool IsPosted(uint64_t offset) const;
  bool IsSettling(uint64_t offset) const;
  // vCPU threads, before they post such a write; JavaScript, once it is handled and the latches are
  // up to date.
  void Unsettle() const { unsettled_.fetch_add(1, std::memory_order_seq_cst); }
  void Settle() const { unsettled_.fetch_sub(1, std::memory_order_seq_cst); }
  bool settled() const { return unsettled_.load(std::memory_order_seq_cst) == 0; }
  const StatusRegister& status() const { return status_; }
  const SelectedRegisters& selected() const { return selected_; }
  // nullptr if there is none.
  InterruptCause* cause() const { return cause_.get(); }
  // nullptr if no register of that width is latched there.
  Latch* FindLatch(uint64_t offset, uint32_t width) const;
  Latch* FindLatch(uint64_t offset) const;

 private:
  uint32_t id_;
  Space space_;
  uint64_t base_;
  uint64_t size_;
  std::vector<uint32_t> posted_;    // sorted
  std::vector<uint32_t> settling_;  // sorted
  StatusRegister status_;
  std::unique_ptr<InterruptCause> cause_;
  SelectedRegisters selected_;
  mutable std::atomic<uint32_t> unsettled_{0};
  std::unique_ptr<Latch[]> latches_;  // sorted by offset
  size_t latch_count_;
};

// The routes of both spaces. Never changes: a change makes another table.
class RouteTable {
 public:
  RouteTable() = default;

  // The route that holds all of `[address, address + width)`.
  const Route* Find(Space space, uint64_t address, uint64_t width) const;

  // Brings the lines of all causes to where they have to be.
  void MoveLines() const;

  // nullptr if the route would overlap another.
  std::unique_ptr<const RouteTable> With(std::shared_ptr<Route> route) const;
  std::unique_ptr<const RouteTable> Without(uint32_t id) const;

 private:
  std::vector<std::shared_ptr<Route>> routes_[2];  // by base
};

// The table in force. vCPU threads read it without a lock, the JavaScript thread replaces it; each
// reader has a hazard pointer, and a replaced table is freed once none of them holds it.
class CurrentRoutes {
 public:
  using Hazard = std::atomic<const RouteTable*>;

  CurrentRoutes() : current_(new RouteTable) {}
  // No reader is left.
  ~CurrentRoutes() { delete current_.load(); }
  CurrentRoutes(const CurrentRoutes&) = delete;
  CurrentRoutes& operator=(const CurrentRoutes&) = delete;

  // Reader's side: the table stays valid until `hazard` is cleared (or taken for another).
  const RouteTable* Acquire(Hazard* hazard) const {
    const RouteTable* table = current_.load(std::memory_order_acquire);
    for (;;) {
      hazard->store(table, std::memory_order_seq_cst);
      const RouteTable* again = current_.load(std::memory_order_seq_cst);
      if (again == table) return table;
      table = again;
    }
  }
  static void Release(Hazard* hazard) { hazard->store(nullptr, std::memory_order_release); }

  // JavaScript thread only.
  void AddReader(const Hazard* hazard) { readers_.push_back(hazard); }
  const RouteTable& table() const { return *current_.load(std::memory_order_relaxed); }
  void Replace(std::unique_ptr<const RouteTable> table);
  // Tables that a reader may still use.
  size_t retired() const { return retired_.size(); }

 private:
  std::atomic<const RouteTable*> current_;
  std::vector<const Hazard*> readers_;
  std::vector<std::unique_ptr<const RouteTable>> retired_;
};

}  // namespace node_kvm
