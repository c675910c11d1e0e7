#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace node_kvm {

// PCI's configuration mechanism #1: a posted write of CONFIG_ADDRESS selects what CONFIG_DATA
// shows. The registers, those of the functions 0 on bus 0, lie in memory shared with JavaScript,
// which says which of them it answers itself. Functions that are not there read as all ones.
struct SelectedRegisters {
  static constexpr size_t kSlots = 32;
  static constexpr size_t kRegisters = 64;  // of each slot, double words
  // What is selected; the registers, slot by slot; for each slot a bit for each of its registers,
  // set if it can be read here.
  static constexpr size_t kWords = 1 + kSlots * kRegisters + kSlots * kRegisters / 32;

  uint32_t address = 0;       // the offset of CONFIG_ADDRESS
  uint32_t data = 0;          // of CONFIG_DATA
  uint32_t* words = nullptr;  // null: the route has no such registers
  std::shared_ptr<const void> keep;

  bool IsSelectedAt(uint64_t offset, uint32_t width) const {
    return words && offset == address && width == sizeof *words;
  }
  void Select(uint32_t value) const { Store(0, value); }
  // False if JavaScript is to answer.
  bool Read(uint64_t offset, uint32_t width, int64_t* value) const {
    if (!words || offset < data) return false;
    uint64_t byte = offset - data;
    uint32_t selected = Load(0);
    if (byte > sizeof *words - width || !(selected & kEnable)) return false;
    uint32_t mask = width == sizeof *words ? UINT32_MAX : (1u << (8 * width)) - 1;
    uint32_t whole = UINT32_MAX;
    if (!(selected & kOtherBusOrFunction)) {
      size_t index = (selected >> 11) % kSlots * kRegisters + (selected >> 2) % kRegisters;
      if (!(Load(1 + kSlots * kRegisters + index / 32) >> (index % 32) & 1)) return false;
      whole = Load(1 + index);
    }
    *value = (whole >> (8 * byte)) & mask;
    return true;
  }

 private:
  static constexpr uint32_t kEnable = 0x8000'0000;
  static constexpr uint32_t kOtherBusOrFunction = 0x00ff'0700;

  uint32_t Load(size_t index) const {
    return std::atomic_ref(words[index]).load(std::memory_order_seq_cst);
  }
  void Store(size_t index, uint32_t value) const {
    std::atomic_ref(words[index]).store(value, std::memory_order_seq_cst);
  }
};

}  // namespace node_kvm
