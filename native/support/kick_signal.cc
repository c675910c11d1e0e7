#include "support/kick_signal.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

// glibc documents the field under this name but does not define it.
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace node_kvm {
namespace {

constexpr long kTickNanoseconds = 100'000'000;
constexpr int kIdleTicksToStop = 5;
// Not a real-time signal, so it is sent whatever the limits are; ignored unless there is a handler.
constexpr int kUnqueued = SIGURG;

}  // namespace

struct KickHandler {
  static void Handle(int, siginfo_t* info, void*) {
    // A kick needs no more than the interruption itself.
    if (info->si_code != SI_TIMER || !info->si_value.sival_ptr) return;
    int saved = errno;
    static_cast<Heartbeat*>(info->si_value.sival_ptr)->OnTick();
    errno = saved;
  }
};

int KickSignal() {
  // SIGUSR1 would open Node's inspector and SIGPROF is its profiler's. libc keeps the first
  // real-time signals for itself, other libraries take the first and last free ones: this is
  // neither.
  static const int signal = [] {
    int number = SIGRTMIN + 12;
    struct sigaction action = {};
    action.sa_sigaction = KickHandler::Handle;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, nullptr);
    return number;
  }();
  return signal;
}

void AcceptKicks() {
  sigset_t kicks;
  sigemptyset(&kicks);
  sigaddset(&kicks, KickSignal());
  sigaddset(&kicks, kUnqueued);
  pthread_sigmask(SIG_UNBLOCK, &kicks, nullptr);
}

void SendKick(pthread_t thread) {
  if (pthread_kill(thread, KickSignal()) != EAGAIN) return;
  // Any handler will do, for instance the program's own.
  static const bool handled = [] {
    struct sigaction action = {};
    sigaction(kUnqueued, nullptr, &action);
    if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN) return true;
    action = {};
    action.sa_handler = [](int) {};
    return sigaction(kUnqueued, &action, nullptr) == 0;
  }();
  if (handled) pthread_kill(thread, kUnqueued);
}

Heartbeat::~Heartbeat() {
  if (created_) timer_delete(timer_);
}

int Heartbeat::Arm() {
  if (!created_) {
    // Whoever started this thread may have blocked it.
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, KickSignal());
    pthread_sigmask(SIG_UNBLOCK, &kick, nullptr);
    sigevent event = {};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = KickSignal();
    event.sigev_value.sival_ptr = this;
    event.sigev_notify_thread_id = static_cast<pid_t>(syscall(SYS_gettid));
    if (timer_create(CLOCK_MONOTONIC, &event, &timer_) < 0) return errno;
    created_ = true;
  }
  idle_ticks_ = 0;
  armed_ = 1;
  itimerspec period = {{0, kTickNanoseconds}, {0, kTickNanoseconds}};
  timer_settime(timer_, 0, &period, nullptr);
  return 0;
}

// In the signal handler: timer_settime is async-signal-safe.
void Heartbeat::OnTick() {
  if (running_) {
    idle_ticks_ = 0;
    return;
  }
  idle_ticks_ = idle_ticks_ + 1;
  if (idle_ticks_ < kIdleTicksToStop) return;
  itimerspec off = {};
  timer_settime(timer_, 0, &off, nullptr);
  armed_ = 0;
}

}  // namespace node_kvm
