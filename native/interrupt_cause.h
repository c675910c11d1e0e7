#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "support/unique_fd.h"
#include "vm_resources.h"

namespace node_kvm {

// A line of the interrupt chips in the kernel, by KVM_IRQ_LINE. Keeps the kernel's VM.
struct KernelIrqLine {
  UniqueFd vm;
  std::shared_ptr<const VmResources> resources;
  uint32_t gsi;

  // 0 or the errno.
  int Set(bool level) const;
};

// One cause of a device's interrupt, of the kind that lasts from a guest's write at one offset (in
// a UART, of the next character) until the guest reads the register at another that tells of it.
// vCPU threads serve both and move the line, so that neither waits for JavaScript, which says what
// follows from the cause's being pending or not.
//
// A write that vCPU threads find in KVM's ring of coalesced ones, and the read that they found it
// before, come to one: the line rests. So it moves only where a thread is done with an exit.
class InterruptCause {
 public:
  struct View {
    uint32_t value[2] = {};  // of the register, by whether the cause is pending
    bool level[2] = {};      // of the line
    // A read while the cause is pending ends that.
    bool acknowledges = false;
    // vCPU threads may serve reads.
    bool shared = false;
    // Writes make it pending.
    bool raises = false;
  };

  // Both offsets are of one byte. `written` is among the route's posted ones.
  InterruptCause(uint32_t written, uint32_t told, KernelIrqLine line)
      : written_(written), told_(told), line_(std::move(line)) {}

  bool IsWrittenAt(uint64_t offset, uint32_t width) const {
    return offset == written_ && width == 1;
  }
  bool IsToldAt(uint64_t offset, uint32_t width) const { return offset == told_ && width == 1; }

  // vCPU threads. True if the line has to be moved for it.
  bool Write();
  // False if JavaScript is to serve it; `*moves` as what Write() returns.
  bool Read(uint32_t* value, bool* moves);
  // Any thread: brings the line to where it has to be.
  void Move();

  // JavaScript. In force with the line when this returns.
  void Set(const View& view);
  void SetPending(bool pending);
  bool pending();
  uint32_t Read();

 private:
  bool moves() const { return view_.level[pending_] != level_; }
  uint32_t Take();
  void MoveLocked();

  const uint32_t written_;
  const uint32_t told_;
  const KernelIrqLine line_;
  // Held while the line is moved too: its levels come in the order of what they follow from.
  std::mutex mutex_;
  View view_;
  bool pending_ = false;
  bool level_ = false;
};

}  // namespace node_kvm
