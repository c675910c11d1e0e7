#pragma once

#include <cstdint>

#include "route_table.h"
#include "vcpu_fd.h"
#include "vcpu_group.h"

namespace node_kvm {

// Serves the exits of one vCPU that the routes let its thread serve alone. That thread's.
class ExitShortcuts {
 public:
  ExitShortcuts(VcpuGroup* group, VcpuCounters* counters) : group_(group), counters_(counters) {}

  // The exit in the run page; false if JavaScript is to answer it.
  bool Serve(const Vcpu& vcpu);
  // Once an exit is served, or before JavaScript serves it.
  void MoveLines();
  // Before the exit that came after them is handled.
  void PostCoalesced();

  const CurrentRoutes::Hazard* hazard() const { return &hazard_; }

 private:
  bool ServeIo(const Vcpu& vcpu);
  bool ServeMmio(kvm_run* run);
  // One read of a register whose value is at hand; false if JavaScript is to answer.
  bool ReadShortcut(const Route& route, uint64_t offset, uint32_t width, int64_t* value);
  void Post(const Route& route, uint64_t offset, uint32_t width, uint32_t value);
  // After a post that found no room; false if the VM ends: what it writes no longer matters.
  bool WaitForRoom();

  VcpuGroup* group_;
  VcpuCounters* counters_;
  CurrentRoutes::Hazard hazard_{nullptr};
};

}  // namespace node_kvm
