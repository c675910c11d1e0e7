#include "interrupt_cause.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>

namespace node_kvm {

int KernelIrqLine::Set(bool level) const {
  kvm_irq_level request = {};
  request.irq = gsi;
  request.level = level;
  return ioctl(vm.get(), KVM_IRQ_LINE, &request) < 0 ? errno : 0;
}

bool InterruptCause::Write() {
  std::lock_guard lock(mutex_);
  if (view_.raises) pending_ = true;
  return moves();
}

bool InterruptCause::Read(uint32_t* value, bool* moves) {
  std::lock_guard lock(mutex_);
  if (!view_.shared) return false;
  *value = Take();
  *moves = this->moves();
  return true;
}

void InterruptCause::Move() {
  std::lock_guard lock(mutex_);
  MoveLocked();
}

void InterruptCause::Set(const View& view) {
  std::lock_guard lock(mutex_);
  view_ = view;
  MoveLocked();
}

void InterruptCause::SetPending(bool pending) {
  std::lock_guard lock(mutex_);
  pending_ = pending;
  MoveLocked();
}

bool InterruptCause::pending() {
  std::lock_guard lock(mutex_);
  return pending_;
}

uint32_t InterruptCause::Read() {
  std::lock_guard lock(mutex_);
  uint32_t value = Take();
  MoveLocked();
  return value;
}

uint32_t InterruptCause::Take() {
  uint32_t value = view_.value[pending_];
  if (view_.acknowledges) pending_ = false;
  return value;
}

void InterruptCause::MoveLocked() {
  if (!moves()) return;
  level_ = !level_;
  // The chips were there when this was made, and stay as long as the VM.
  line_.Set(level_);
}

}  // namespace node_kvm
