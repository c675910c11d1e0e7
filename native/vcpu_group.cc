#include "vcpu_group.h"

#include "access_data.h"
#include "kvm_compat.h"

namespace node_kvm {

bool VcpuGroup::TryPost(const Route& route, uint64_t offset, uint32_t width, uint32_t value,
                        PostedQueue::Pace pace, PostedQueue::Wake* wake) {
  bool settling = route.IsSettling(offset);
  if (settling) route.Unsettle();
  if (!posted.TryPush({route.id(), static_cast<uint32_t>(offset), width, value}, pace, wake)) {
    if (settling) route.Settle();
    return false;
  }
  if (settling) {
    urgent.store(true, std::memory_order_seq_cst);
    *wake = PostedQueue::Wake::kYes;
  }
  InterruptCause* cause = route.cause();
  if (cause && cause->IsWrittenAt(offset, width) && cause->Write()) {
    lines_stale.store(true, std::memory_order_seq_cst);
  }
  return true;
}

bool VcpuGroup::TryPost(const RouteTable& table, const kvm_coalesced_mmio& write,
                        PostedQueue::Wake* wake) {
  Space space = write.pio ? Space::kPio : Space::kMmio;
  // Its device may have left the bus, and with it the zone, since.
  if (!IsShortWidth(write.len)) return true;
  const Route* route = table.Find(space, write.phys_addr, write.len);
  if (!route) return true;
  return TryPost(*route, write.phys_addr - route->base(), write.len,
                 LoadData(write.data, write.len), PostedQueue::Pace::kLumps, wake);
}

}  // namespace node_kvm
