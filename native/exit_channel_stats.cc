// What a vCPU's exits were for, as JavaScript reads it.
#include <cstring>
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
  void* data = nullptr;
  napi_value buffer = nullptr;
  napi_value array = nullptr;
  size_t size = numbers.size() * sizeof(double);
  if (napi_create_arraybuffer(env, size, &data, &buffer) != napi_ok ||
      napi_create_typedarray(env, napi_float64_array, numbers.size(), buffer, 0, &array) !=
          napi_ok) {
    return nullptr;
  }
  std::memcpy(data, numbers.data(), size);
  return array;
}

napi_value ExitChannel::Coalesced(napi_env env) {
  if (!CheckOpen(env)) return nullptr;
  return MakeNumber(env, static_cast<double>(group_.coalesced.count()));
}

}  // namespace node_kvm
