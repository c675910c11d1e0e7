#pragma once

#include <pthread.h>

#include <csignal>
#include <ctime>

namespace node_kvm {

// The real-time signal that takes a thread out of KVM_RUN, its handler installed on first use (no
// SA_RESTART). Thread-safe. Send it by pthread_kill, after setting the run page's `immediate_exit`.
int KickSignal();

// Lets the calling thread, which blocks all signals, be kicked.
void AcceptKicks();

// Kicks a thread that accepts it, also where the limit on queued signals (RLIMIT_SIGPENDING, which
// all processes of a user share) leaves no room for one more.
void SendKick(pthread_t thread);

// Takes its own thread out of KVM_RUN ten times a second, so that a JavaScript thread that called
// run() on an idle or spinning guest comes back to JavaScript, where worker.terminate() and
// process.exit() can end it. The timer stops by itself while nothing runs.
class Heartbeat {
 public:
  Heartbeat() = default;
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // Around KVM_RUN, on the one thread that this object serves. 0, or the errno of timer_create:
  // without a timer nothing would end an idle guest's KVM_RUN.
  int Enter() {
    running_ = 1;
    return armed_ ? 0 : Arm();
  }
  void Leave() { running_ = 0; }

 private:
  friend struct KickHandler;
  int Arm();
  void OnTick();

  timer_t timer_ = {};
  bool created_ = false;
  // Shared with the signal handler on the same thread.
  volatile std::sig_atomic_t armed_ = 0;
  volatile std::sig_atomic_t running_ = 0;
  volatile std::sig_atomic_t idle_ticks_ = 0;
};

}  // namespace node_kvm
