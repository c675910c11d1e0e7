// What a vCPU's exits were for, as JavaScript reads it.
#include <vector>

#include "exit_channel.h"
#include "exit_stats.h"
#include "support/args.h"

namespace node_kvm {

napi_value ExitChannel::ExitCounts(napi_env env, const Args& args) {
  VcpuThread* thread = GetVcpu(env, args[0]);
  if (!thread) return nullptr;
  const ExitStats& stats = thread->stats();
  double tick = tsc_clock_.NanosecondsPerTick();
  std::vector<double> numbers;
  auto add = [&](const ExitStats::Tally& tally) {
    for (const auto* counter : {&tally.count, &tally.synchronous}) {
      numbers.push_back(static_cast<double>(counter->load(std::memory_order_relaxed)));
    }
    numbers.push_back(static_cast<double>(tally.ticks.load(std::memory_order_relaxed)) * tick);
  };
  for (const ExitStats::Tally& reason : stats.reasons()) add(reason);
  add(stats.others());
  for (const ExitStats::Place& place : stats.places()) {
    uint64_t key = place.key.load(std::memory_order_relaxed);
    if (key == 0) continue;
    numbers.push_back(static_cast<double>(ExitStats::IsMmio(key)));
    numbers.push_back(static_cast<double>(ExitStats::IsWrite(key)));
    numbers.push_back(static_cast<double>(ExitStats::Address(key)));
    add(place.tally);
  }
  return MakeNumbers(env, numbers);
}

napi_value ExitChannel::Coalesced(napi_env env) {
  if (!CheckOpen(env)) return nullptr;
  return MakeNumber(env, static_cast<double>(group_.coalesced.count()));
}

}  // namespace node_kvm
