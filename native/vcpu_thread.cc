#include "vcpu_thread.h"

#include <immintrin.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include "kvm_compat.h"
#include "support/futex.h"
#include "support/kick_signal.h"
#include "support/thread_filter.h"

namespace node_kvm {
namespace {

using Want = VcpuGroup::Want;

// Only its own thread counts: no read-modify-write is needed.
void Count(std::atomic<uint64_t>* counter) {
  counter->store(counter->load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

std::atomic_ref<uint8_t> ImmediateExit(kvm_run* run) {
  return std::atomic_ref<uint8_t>(run->immediate_exit);
}

// Guests, and so these, are little-endian.
uint32_t Load(const uint8_t* bytes, uint32_t width) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, width);
  return value;
}

void Store(uint8_t* bytes, uint32_t width, int64_t value) { std::memcpy(bytes, &value, width); }

bool IsShortWidth(uint32_t width) { return width == 1 || width == 2 || width == 4; }

}  // namespace

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
  return TryPost(*route, write.phys_addr - route->base(), write.len, Load(write.data, write.len),
                 PostedQueue::Pace::kLumps, wake);
}

VcpuThread::VcpuThread(VcpuGroup* group, std::shared_ptr<Vcpu> vcpu, uint32_t index, int nice)
    : group_(group), vcpu_(std::move(vcpu)), index_(index), nice_(nice) {}

int VcpuThread::Start() {
  constexpr size_t kStack = 0x40000;
  KickSignal();
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStack);
  // Node's signals (profiler, child exits) are not this thread's business, and each would be an
  // exit. Blocked in the creator, so that there is no moment in which one could arrive.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread_, &attributes, Main, this);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) return error;
  started_ = true;
  char name[16];
  std::snprintf(name, sizeof name, "vcpu%u", index_);
  pthread_setname_np(thread_, name);
  return 0;
}

void VcpuThread::Kick() {
  // Before the signal: one that arrives outside KVM_RUN leaves its trace here.
  ImmediateExit(vcpu_->run()).store(1, std::memory_order_seq_cst);
  if (started_) SendKick(thread_);
}

void VcpuThread::Abandon() {
  // One that was answered is the thread's: it completes the exit, and sees that it is to end then.
  uint32_t handover = handover_.load(std::memory_order_seq_cst);
  while (handover == kPublished || handover == kPublishedAsleep) {
    if (!handover_.compare_exchange_weak(handover, kAbandoned)) continue;
    if (handover == kPublishedAsleep) FutexWakeOne(&handover_);
    break;
  }
  taken_ = false;
}

void VcpuThread::Join() {
  if (!started_) return;
  pthread_join(thread_, nullptr);
  started_ = false;
}

bool VcpuThread::TakeExit() {
  uint32_t handover = handover_.load(std::memory_order_acquire);
  if (taken_ || (handover != kPublished && handover != kPublishedAsleep)) return false;
  taken_ = true;
  return true;
}

bool VcpuThread::Complete(int64_t now) {
  if (!vcpu_->TryEnter()) return false;
  taken_ = false;
  held = false;
  answered_at_ = now;
  if (handover_.exchange(kOurs, std::memory_order_acq_rel) == kPublishedAsleep) {
    FutexWakeOne(&handover_);
  }
  return true;
}

void* VcpuThread::Main(void* self) {
  auto* thread = static_cast<VcpuThread*>(self);
  AcceptKicks();
  // On Linux a thread has a nice value of its own; to raise it is always allowed.
  if (thread->nice_ > 0) (void)!nice(thread->nice_);
  RestrictToVcpu();
  thread->Loop();
  return nullptr;
}

void VcpuThread::Loop() {
  {
    std::unique_lock lock(group_->mutex);
    group_->changed.wait(lock, [this] { return !parked_ || group_->want.load() == Want::kStop; });
    if (parked_) return;
  }
  // Unparked: the JavaScript thread has entered the vCPU on this thread's behalf.
  while (Run() && Park()) {
  }
}

bool VcpuThread::Park() {
  std::unique_lock lock(group_->mutex);
  if (group_->want.load() == Want::kRun) return true;
  vcpu_->Leave();
  parked_ = true;
  group_->wake.Send();
  group_->changed.wait(lock, [this] { return !parked_ || group_->want.load() == Want::kStop; });
  return !parked_;
}

// Clears what a kick has left behind. A kick whose `want` this does not see yet sets it again.
void VcpuThread::ArmImmediateExit() {
  std::atomic_ref<uint8_t> immediate_exit = ImmediateExit(vcpu_->run());
  if (immediate_exit.load(std::memory_order_seq_cst) == 0) return;
  immediate_exit.store(0, std::memory_order_seq_cst);
  if (group_->want.load(std::memory_order_seq_cst) != Want::kRun) {
    immediate_exit.store(1, std::memory_order_relaxed);
  }
}

bool VcpuThread::Run() {
  for (;;) {
    ArmImmediateExit();
    int error = ioctl(vcpu_->fd(), KVM_RUN, 0) < 0 ? errno : 0;
    if (error == EINTR || error == EAGAIN) {
      Count(&counters_.kicks);
      // KVM completes a PIO or MMIO exit at the next KVM_RUN, before it looks at immediate_exit
      // (KVM API, 5 "The kvm_run structure"). So here, and nowhere else, none is incomplete.
      if (group_->want.load(std::memory_order_seq_cst) != Want::kRun) return true;
      continue;
    }
    if (group_->coalesced.pending()) PostCoalesced();
    Count(&counters_.exits);
    if (error != 0) {
      if (!Publish(error)) return false;
      continue;
    }
    uint64_t left = __rdtsc();
    // Before JavaScript has the run page.
    ExitStats::Exit exit = stats_.Find(*vcpu_->run());
    bool served = Serve();
    MoveLines();
    bool goes_on = served || Publish(0);
    // One that ends the guest took no time of it.
    ExitStats::Count(exit, !served, goes_on ? __rdtsc() - left : 0);
    if (!goes_on) return false;
  }
}

bool VcpuThread::Serve() {
  bool served = false;
  switch (vcpu_->run()->exit_reason) {
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return true;
    case KVM_EXIT_IO:
      served = ServeIo();
      break;
    case KVM_EXIT_MMIO:
      served = ServeMmio();
      break;
  }
  CurrentRoutes::Release(&hazard_);
  return served;
}

bool VcpuThread::ServeIo() {
  kvm_run* run = vcpu_->run();
  uint32_t width = run->io.size;
  uint64_t count = run->io.count;
  uint64_t data_offset = run->io.data_offset;
  if (!IsShortWidth(width) || data_offset > vcpu_->run_size() ||
      count > (vcpu_->run_size() - data_offset) / width) {
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
    for (uint64_t i = 0; i < count; i++) Store(data + i * width, width, value);
    Count(&counters_.latched);
    return true;
  }
  if (!route->IsPosted(offset)) return false;
  for (uint64_t i = 0; i < count; i++) {
    Post(*route, offset, width, Load(data + i * width, width));
  }
  Count(&counters_.posted);
  return true;
}

bool VcpuThread::ServeMmio() {
  kvm_run* run = vcpu_->run();
  uint32_t width = run->mmio.len;
  if (!IsShortWidth(width)) return false;
  const Route* route =
      group_->routes.Acquire(&hazard_)->Find(Space::kMmio, run->mmio.phys_addr, width);
  if (!route) return false;
  uint64_t offset = run->mmio.phys_addr - route->base();
  const StatusRegister& status = route->status();
  if (!run->mmio.is_write) {
    if (status.IsReadAt(offset, width)) {
      Store(run->mmio.data, width, status.Load());
      Count(&counters_.latched);
      return true;
    }
    int64_t value = 0;
    if (!ReadShortcut(*route, offset, width, &value)) return false;
    Store(run->mmio.data, width, value);
    Count(&counters_.latched);
    return true;
  }
  if (status.IsClearedAt(offset, width)) {
    status.Clear(Load(run->mmio.data, width));
    Count(&counters_.latched);
    return true;
  }
  if (!route->IsPosted(offset)) return false;
  Post(*route, offset, width, Load(run->mmio.data, width));
  Count(&counters_.posted);
  return true;
}

bool VcpuThread::ReadShortcut(const Route& route, uint64_t offset, uint32_t width, int64_t* value) {
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

void VcpuThread::MoveLines() {
  if (!group_->lines_stale.load(std::memory_order_seq_cst)) return;
  group_->MoveLines(*group_->routes.Acquire(&hazard_));
  CurrentRoutes::Release(&hazard_);
}

bool VcpuThread::WaitForRoom() {
  Count(&counters_.full);
  group_->Wake();
  return group_->posted.WaitForRoom();
}

void VcpuThread::PostCoalesced() {
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

void VcpuThread::Post(const Route& route, uint64_t offset, uint32_t width, uint32_t value) {
  if (route.selected().IsSelectedAt(offset, width)) route.selected().Select(value);
  PostedQueue::Wake wake = PostedQueue::Wake::kNo;
  while (!group_->TryPost(route, offset, width, value, PostedQueue::Pace::kSoon, &wake)) {
    if (!WaitForRoom()) return;
  }
  if (wake == PostedQueue::Wake::kYes) group_->Wake();
}

bool VcpuThread::Publish(int error) {
  Count(&counters_.synchronous);
  error_ = error;
  published_at_ = MonotonicNow();
  cpu_ = sched_getcpu();
  vcpu_->Leave();
  group_->published.fetch_add(1, std::memory_order_seq_cst);
  handover_.store(kPublished, std::memory_order_seq_cst);
  group_->Wake();

  int64_t limit = group_->spin_limit.load(std::memory_order_relaxed);
  SpinWait wait(&spin_, limit, published_at_, published_at_ + spin_.length(limit));
  for (;;) {
    uint32_t handover = handover_.load(std::memory_order_seq_cst);
    if (handover == kOurs) break;
    if (handover == kAbandoned) return false;
    if (group_->want.load(std::memory_order_seq_cst) == Want::kStop) {
      // The stop came before the exit was published, and so has not abandoned it.
      if (handover_.compare_exchange_strong(handover, kAbandoned)) return false;
    } else if (!wait.Turn(group_->js_cpu.load(std::memory_order_relaxed)) &&
               (handover == kPublishedAsleep ||
                handover_.compare_exchange_strong(handover, kPublishedAsleep))) {
      FutexWait(&handover_, kPublishedAsleep);
    }
  }
  wait.Came(answered_at_);
  return true;
}

}  // namespace node_kvm
