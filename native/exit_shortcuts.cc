#include "exit_shortcuts.h"

#include "access_data.h"
#include "kvm_compat.h"

namespace node_kvm {

bool ExitShortcuts::Serve(const Vcpu& vcpu) {
  bool served = false;
  switch (vcpu.run()->exit_reason) {
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return true;
    case KVM_EXIT_IO:
      served = ServeIo(vcpu);
      break;
    case KVM_EXIT_MMIO:
      served = ServeMmio(vcpu.run());
      break;
  }
  CurrentRoutes::Release(&hazard_);
  return served;
}

bool ExitShortcuts::ServeIo(const Vcpu& vcpu) {
  kvm_run* run = vcpu.run();
  uint32_t width = run->io.size;
  uint64_t count = run->io.count;
  uint64_t data_offset = run->io.data_offset;
  if (!IsShortWidth(width) || data_offset > vcpu.run_size() ||
      count > (vcpu.run_size() - data_offset) / width) {
    return false;
  }
  uint8_t* data = reinterpret_cast<uint8_t*>(run) + data_offset;
  const Route* route = group_->routes.Acquire(&hazard_)->Find(Space::kPio, run->io.port, width);
  if (!route) return false;
  uint64_t offset = run->io.port - route->base();
  if (run->io.direction == KVM_EXIT_IO_IN) {
    int64_t value = 0;
    // A string of what changes as it is read is nothing that drivers read.
    bool changes = route->cause() && route->cause()->IsToldAt(offset, width);
    if ((changes && count > 1) || !ReadShortcut(*route, offset, width, &value)) return false;
    for (uint64_t i = 0; i < count; i++) StoreData(data + i * width, width, value);
    Count(&counters_->latched);
    return true;
  }
  if (!route->IsPosted(offset)) return false;
  for (uint64_t i = 0; i < count; i++) {
    Post(*route, offset, width, LoadData(data + i * width, width));
  }
  Count(&counters_->posted);
  return true;
}

bool ExitShortcuts::ServeMmio(kvm_run* run) {
  uint32_t width = run->mmio.len;
  if (!IsShortWidth(width)) return false;
  const Route* route =
      group_->routes.Acquire(&hazard_)->Find(Space::kMmio, run->mmio.phys_addr, width);
  if (!route) return false;
  uint64_t offset = run->mmio.phys_addr - route->base();
  const StatusRegister& status = route->status();
  if (!run->mmio.is_write) {
    if (status.IsReadAt(offset, width)) {
      StoreData(run->mmio.data, width, status.Load());
      Count(&counters_->latched);
      return true;
    }
    int64_t value = 0;
    if (!ReadShortcut(*route, offset, width, &value)) return false;
    StoreData(run->mmio.data, width, value);
    Count(&counters_->latched);
    return true;
  }
  if (status.IsClearedAt(offset, width)) {
    status.Clear(LoadData(run->mmio.data, width));
    Count(&counters_->latched);
    return true;
  }
  if (!route->IsPosted(offset)) return false;
  Post(*route, offset, width, LoadData(run->mmio.data, width));
  Count(&counters_->posted);
  return true;
}

bool ExitShortcuts::ReadShortcut(const Route& route, uint64_t offset, uint32_t width,
                                 int64_t* value) {
  if (!route.settled()) return false;
  InterruptCause* cause = route.cause();
  if (cause && cause->IsToldAt(offset, width)) {
    uint32_t told = 0;
    bool moves = false;
    if (!cause->Read(&told, &moves)) return false;
    if (moves) group_->lines_stale.store(true, std::memory_order_seq_cst);
    *value = told;
    return true;
  }
  if (route.selected().Read(offset, width, value)) return true;
  Latch* latch = route.FindLatch(offset, width);
  if (!latch) return false;
  *value = latch->value.load(std::memory_order_acquire);
  return *value != Latch::kUnlatched;
}

void ExitShortcuts::MoveLines() {
  if (!group_->lines_stale.load(std::memory_order_seq_cst)) return;
  group_->MoveLines(*group_->routes.Acquire(&hazard_));
  CurrentRoutes::Release(&hazard_);
}

bool ExitShortcuts::WaitForRoom() {
  Count(&counters_->full);
  group_->Wake();
  return group_->posted.WaitForRoom();
}

void ExitShortcuts::PostCoalesced() {
  const RouteTable* table = group_->routes.Acquire(&hazard_);
  PostedQueue::Wake wake = PostedQueue::Wake::kNo;
  auto hand = [&](const kvm_coalesced_mmio& write) {
    return group_->TryPost(*table, write, &wake);
  };
  // The ring's lock is not held while waiting: JavaScript, which makes the room, takes it too.
  while (!group_->coalesced.Drain(hand) && WaitForRoom()) {
  }
  CurrentRoutes::Release(&hazard_);
  if (wake == PostedQueue::Wake::kYes) group_->Wake();
}

void ExitShortcuts::Post(const Route& route, uint64_t offset, uint32_t width, uint32_t value) {
  if (route.selected().IsSelectedAt(offset, width)) route.selected().Select(value);
  PostedQueue::Wake wake = PostedQueue::Wake::kNo;
  while (!group_->TryPost(route, offset, width, value, PostedQueue::Pace::kSoon, &wake)) {
    if (!WaitForRoom()) return;
  }
  if (wake == PostedQueue::Wake::kYes) group_->Wake();
}

}  // namespace node_kvm
