#include "exit_channel.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <string>
#include <utility>

#include "support/args.h"
#include "support/errors.h"
#include "vcpu_fd.h"

namespace node_kvm {
namespace {

using Want = VcpuGroup::Want;

constexpr uint32_t kMaxSpinMicroseconds = 1'000;
constexpr uint32_t kMaxNice = 19;

}  // namespace

bool ExitChannel::Open(napi_env env, napi_value self) {
  env_ = env;
  // The raw pointers are safe: the destructor closes the handles first.
  int error = group_.wake.Open(env, [this] { OnWork(); });
  if (error == 0) error = poll_timer_.Open(env, [this] { OnTick(); });
  if (error < 0) {
    ThrowKvmError(env, -error, "uv_async_init");
    return false;
  }
  mailbox_ = std::make_shared<MailboxPage>();

  // Found by its data and not by `this`: this is the one call that is made for every exit.
  target_ = std::make_shared<Target>(Target{this});
  auto* share = new std::shared_ptr<Target>(target_);
  napi_value next = nullptr;
  if (napi_create_function(env, "next", NAPI_AUTO_LENGTH, Next, share->get(), &next) != napi_ok) {
    delete share;
    return false;
  }
  auto finalize = [](napi_env, void* data, void*) {
    delete static_cast<std::shared_ptr<Target>*>(data);
  };
  napi_property_descriptor property = {"next",  nullptr, nullptr,         nullptr,
                                       nullptr, next,    napi_enumerable, nullptr};
  if (napi_add_finalizer(env, next, share, finalize, nullptr, nullptr) != napi_ok ||
      napi_define_properties(env, self, 1, &property) != napi_ok) {
    return false;
  }
  // Hooks run in reverse order: the threads end before the handles that they wake JavaScript by.
  hooked_ = napi_add_env_cleanup_hook(env, EndWithEnvironment, this) == napi_ok;
  return hooked_;
}

void ExitChannel::EndWithEnvironment(void* self) {
  auto* channel = static_cast<ExitChannel*>(self);
  channel->hooked_ = false;
  channel->closed_ = true;
  channel->StopThreads();
}

ExitChannel::~ExitChannel() {
  // A guest that nobody can reach any more, or one whose environment has ended (which stopped it).
  if (!closed_) Shut();
  if (target_) target_->channel = nullptr;
}

void ExitChannel::Shut() {
  closed_ = true;
  StopThreads();
  // The same hook must not be there when the next channel at this address adds it: Node aborts.
  if (std::exchange(hooked_, false)) {
    napi_remove_env_cleanup_hook(env_, EndWithEnvironment, this);
  }
  if (target_) target_->channel = nullptr;
  poll_timer_.Close();
  group_.wake.Close();
}

bool ExitChannel::CheckOpen(napi_env env) {
  if (closed_) ThrowClosed(env, "ExitChannel");
  return !closed_;
}

VcpuThread* ExitChannel::GetVcpu(napi_env env, napi_value value) {
  uint32_t index = 0;
  if (!CheckOpen(env)) return nullptr;
  if (threads_.empty()) {
    ThrowVmmError(env, "ERR_STATE", "the channel has no vCPU");
    return nullptr;
  }
  if (!GetUint32(env, value, "index", &index, threads_.size() - 1)) return nullptr;
  return threads_[index].get();
}

// addVcpu(vcpu, nice): its index.
napi_value ExitChannel::AddVcpu(napi_env env, const Args& args) {
  if (!CheckOpen(env)) return nullptr;
  auto* object = Unwrap<VcpuFd>(env, args[0], "vcpu");
  if (!object) return nullptr;
  if (!object->vcpu()) return ThrowClosed(env, "Vcpu");
  uint32_t nice = 0;
  if (!IsNullish(env, args[1]) && !GetUint32(env, args[1], "nice", &nice, kMaxNice)) return nullptr;
  if (group_.want.load() == Want::kStop) {
    return ThrowVmmError(env, "ERR_STATE", "the channel has been stopped");
  }
  for (const auto& thread : threads_) {
    if (&thread->vcpu() == object->vcpu().get()) {
      return ThrowVmmError(env, "ERR_STATE", "the channel has this vCPU already");
    }
  }
  uint32_t index = threads_.size();
  if (index == 0) group_.coalesced.Attach(*object->vcpu());
  auto thread =
      std::make_unique<VcpuThread>(&group_, object->vcpu(), index, static_cast<int>(nice));
  if (int error = thread->Start()) return ThrowKvmError(env, error, "pthread_create");
  group_.routes.AddReader(thread->hazard());
  threads_.push_back(std::move(thread));
  return MakeNumber(env, index);
}

napi_value ExitChannel::Run(napi_env env, const Args& args) {
  if (!CheckOpen(env)) return nullptr;
  if (!IsFunction(env, args[0])) return ThrowInvalidOption(env, "onWork", args[0], "a function");
  std::vector<VcpuThread*> chosen;
  if (!ChooseVcpus(env, args[1], &chosen)) return nullptr;
  std::lock_guard lock(group_.mutex);
  if (group_.want.load() == Want::kStop) {
    return ThrowVmmError(env, "ERR_STATE", "the channel has been stopped");
  }
  std::erase_if(chosen, [](VcpuThread* thread) { return !thread->parked(); });
  for (size_t i = 0; i < chosen.size(); i++) {
    if (chosen[i]->vcpu().TryEnter()) continue;
    while (i-- > 0) chosen[i]->vcpu().Leave();
    return ThrowVmmError(env, "ERR_VCPU_RUNNING", "a vCPU is run by someone else");
  }
  // One that is there may be the very function that is running.
  if (!on_work_) on_work_.Set(env, args.self, args[0], "node-kvm:exits");
  group_.want.store(Want::kRun, std::memory_order_seq_cst);
  runs_++;
  for (VcpuThread* thread : chosen) thread->Unpark();
  group_.changed.notify_all();
  if (ref_) group_.wake.Ref();
  Poll();
  return nullptr;
}

bool ExitChannel::ChooseVcpus(napi_env env, napi_value only, std::vector<VcpuThread*>* chosen) {
  napi_valuetype type = napi_undefined;
  if (only) napi_typeof(env, only, &type);
  if (type == napi_undefined) {
    for (const auto& thread : threads_) chosen->push_back(thread.get());
    return true;
  }
  Words indices;
  if (!GetWords(env, only, "only", &indices)) return false;
  std::vector<bool> seen(threads_.size());
  for (size_t i = 0; i < indices.count; i++) {
    if (indices.data[i] >= threads_.size()) {
      ThrowInvalidOption(env, "only", only, "indices of vCPUs");
      return false;
    }
    seen[indices.data[i]] = true;
  }
  for (const auto& thread : threads_) {
    if (seen[thread->index()]) chosen->push_back(thread.get());
  }
  return true;
}

napi_value ExitChannel::Pause(napi_env env, const Args&) {
  if (!CheckOpen(env)) return nullptr;
  {
    std::lock_guard lock(group_.mutex);
    if (group_.want.load() != Want::kRun) return nullptr;
    group_.want.store(Want::kPause, std::memory_order_seq_cst);
    for (const auto& thread : threads_) {
      if (!thread->parked()) thread->Kick();
    }
  }
  if (ParkedNow()) Rest();
  return nullptr;
}

bool ExitChannel::ParkedNow() {
  std::lock_guard lock(group_.mutex);
  return group_.want.load() != Want::kRun &&
         std::all_of(threads_.begin(), threads_.end(), [this](const auto& thread) {
           return group_.want.load() == Want::kStop || thread->parked() || thread->held;
         });
}

napi_value ExitChannel::Parked(napi_env env) { return MakeBool(env, ParkedNow()); }

napi_value ExitChannel::Stop(napi_env env, const Args&) {
  if (!CheckOpen(env)) return nullptr;
  StopThreads();
  Rest();
  return nullptr;
}

void ExitChannel::StopThreads() {
  {
    std::lock_guard lock(group_.mutex);
    group_.want.store(Want::kStop, std::memory_order_seq_cst);
    group_.changed.notify_all();
  }
  group_.posted.End();
  for (const auto& thread : threads_) {
    thread->Abandon();
    thread->Kick();
  }
  for (const auto& thread : threads_) thread->Join();
  exits_taken_ = group_.published.load();
}

void ExitChannel::Rest() {
  on_work_.Reset();
  group_.wake.Unref();
  if (group_.want.load() != Want::kStop) return;
  SetPeriod(0);
}

napi_value ExitChannel::Hold(napi_env env, const Args& args) {
  VcpuThread* thread = GetVcpu(env, args[0]);
  if (!thread) return nullptr;
  if (!thread->taken()) {
    return ThrowVmmError(env, "ERR_STATE", "the vCPU has no exit that waits for an answer");
  }
  thread->held = true;
  return nullptr;
}

napi_value ExitChannel::Mailbox(napi_env env) {
  if (!CheckOpen(env)) return nullptr;
  return buffers_.Make(env, mailbox_, reinterpret_cast<uint8_t*>(mailbox_.get()),
                       sizeof(MailboxPage));
}

napi_value ExitChannel::Counters(napi_env env, const Args& args) {
  VcpuThread* thread = GetVcpu(env, args[0]);
  if (!thread) return nullptr;
  const VcpuCounters& counters = thread->counters();
  const std::atomic<uint64_t>* values[] = {&counters.exits,  &counters.latched,
                                           &counters.posted, &counters.synchronous,
                                           &counters.kicks,  &counters.full};
  double numbers[std::size(values)];
  for (size_t i = 0; i < std::size(values); i++) {
    numbers[i] = static_cast<double>(values[i]->load(std::memory_order_relaxed));
  }
  return MakeNumbers(env, numbers);
}

napi_value ExitChannel::SetSpin(napi_env env, const Args& args) {
  uint32_t microseconds = 0;
  if (!CheckOpen(env) ||
      !GetUint32(env, args[0], "spinMicroseconds", &microseconds, kMaxSpinMicroseconds)) {
    return nullptr;
  }
  group_.spin_limit.store(int64_t{microseconds} * 1000, std::memory_order_relaxed);
  return nullptr;
}

napi_value ExitChannel::Coalesce(napi_env env, const Args&) {
  if (!CheckOpen(env)) return nullptr;
  coalesces_ = true;
  if (on_work_) Poll();
  return nullptr;
}

napi_value ExitChannel::SetAffinity(napi_env env, const Args& args) {
  VcpuThread* thread = GetVcpu(env, args[0]);
  Words cpus;
  if (!thread || !GetWords(env, args[1], "cpus", &cpus)) return nullptr;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (size_t i = 0; i < cpus.count; i++) {
    if (cpus.data[i] >= CPU_SETSIZE) {
      return ThrowInvalidOption(env, "cpus", args[1],
                                "numbers below " + std::to_string(CPU_SETSIZE));
    }
    CPU_SET(cpus.data[i], &set);
  }
  if (group_.want.load() == Want::kStop) {
    return ThrowVmmError(env, "ERR_STATE", "the channel has been stopped");
  }
  if (int error = pthread_setaffinity_np(thread->thread(), sizeof set, &set)) {
    return ThrowKvmError(env, error, "sched_setaffinity");
  }
  return nullptr;
}

napi_value ExitChannel::Ref(napi_env env, const Args&) {
  if (!CheckOpen(env)) return nullptr;
  ref_ = true;
  if (on_work_) group_.wake.Ref();
  return nullptr;
}

napi_value ExitChannel::Unref(napi_env env, const Args&) {
  if (!CheckOpen(env)) return nullptr;
  ref_ = false;
  group_.wake.Unref();
  return nullptr;
}

napi_value ExitChannel::Close(napi_env env, const Args&) {
  if (closed_) return nullptr;
  on_work_.Reset();
  Shut();
  // The threads are joined; with them goes their hold on the vCPUs, and with that on the VM and its
  // memory.
  threads_.clear();
  buffers_.DetachAll(env);
  return nullptr;
}

namespace {
napi_value Construct(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!CheckNew<ExitChannel>(env, info)) return nullptr;
  auto channel = std::make_unique<ExitChannel>();
  if (!channel->Open(env, args.self)) return nullptr;
  return Wrap(env, args.self, std::move(channel));
}
}  // namespace

bool DefineExitChannel(napi_env env, napi_value exports) {
  napi_property_descriptor members[] = {
      Method<&ExitChannel::AddRoute>("addRoute"),
      Method<&ExitChannel::RemoveRoute>("removeRoute"),
      Method<&ExitChannel::SetLatch>("setLatch"),
      Method<&ExitChannel::Settle>("settle"),
      Method<&ExitChannel::SetCause>("setCause"),
      Method<&ExitChannel::CausePending>("causePending"),
      Method<&ExitChannel::ReadCause>("readCause"),
      Method<&ExitChannel::AddVcpu>("addVcpu"),
      Method<&ExitChannel::Run>("run"),
      Method<&ExitChannel::Pause>("pause"),
      Getter<&ExitChannel::Parked>("parked"),
      Getter<&ExitChannel::Coalesced>("coalesced"),
      Method<&ExitChannel::Stop>("stop"),
      Method<&ExitChannel::Hold>("hold"),
      Getter<&ExitChannel::Mailbox>("mailbox"),
      Method<&ExitChannel::TakePosted>("takePosted"),
      Method<&ExitChannel::Counters>("counters"),
      Method<&ExitChannel::ExitCounts>("exitCounts"),
      Method<&ExitChannel::SetSpin>("setSpin"),
      Method<&ExitChannel::SetAffinity>("setAffinity"),
      Method<&ExitChannel::Coalesce>("coalesce"),
      Method<&ExitChannel::Ref>("ref"),
      Method<&ExitChannel::Unref>("unref"),
      Method<&ExitChannel::Close>("close"),
  };
  return DefineClass<ExitChannel>(env, exports, Construct, members);
}

}  // namespace node_kvm
