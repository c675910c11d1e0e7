#include "support/thread_filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <vector>

#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1UL << 2)
#endif

namespace node_kvm {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// By number alone: the kernel remembers what that allows, and KVM_RUN costs next to nothing more.
// If the request of each ioctl decided, every exit would take another 0.2 µs.
constexpr int kAllowed[] = {
    SYS_ioctl,           SYS_futex,        SYS_write,
    SYS_sched_yield,     SYS_rt_sigreturn, SYS_clock_gettime,
    SYS_clock_nanosleep, SYS_nanosleep,    SYS_restart_syscall,
    SYS_rt_sigprocmask,  SYS_read,         SYS_munmap,
    SYS_madvise,         SYS_brk,          SYS_getpid,
    SYS_gettid,          SYS_tgkill,       SYS_exit,
    SYS_exit_group,      SYS_rt_sigaction,
};

sock_filter Load(size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<__u32>(offset));
}
sock_filter Return(unsigned action) { return BPF_STMT(BPF_RET | BPF_K, action); }
// Skips the next instruction unless what was loaded is `value`.
sock_filter Unless(unsigned value) { return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1); }

// A call of which one argument decides.
void AllowIf(std::vector<sock_filter>* code, int call, int argument, sock_filter condition) {
  code->push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<__u32>(call), 0, 4));
  code->push_back(Load(offsetof(seccomp_data, args) + 8 * static_cast<size_t>(argument)));
  code->push_back(condition);
  code->push_back(Return(SECCOMP_RET_ALLOW));
  code->push_back(Return(SECCOMP_RET_ERRNO | EPERM));
}

std::vector<sock_filter> Program() {
  // Another instruction set's numbers are other calls.
  std::vector<sock_filter> code = {
      Load(offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      Return(SECCOMP_RET_ERRNO | EPERM),
      Load(offsetof(seccomp_data, nr)),
  };
  for (int call : kAllowed) {
    code.push_back(Unless(static_cast<unsigned>(call)));
    code.push_back(Return(SECCOMP_RET_ALLOW));
  }
  sock_filter not_executable = BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0);
  AllowIf(&code, SYS_mmap, 2, not_executable);
  AllowIf(&code, SYS_mprotect, 2, not_executable);
  code.push_back(Return(SECCOMP_RET_ERRNO | EPERM));
  return code;
}

}  // namespace

void RestrictToVcpu() {
  if (kSanitized) return;
  std::vector<sock_filter> code = Program();
  sock_fprog program = {static_cast<unsigned short>(code.size()), code.data()};
  // Both are this thread's alone. SPEC_ALLOW: a filter is no reason to slow the guest's own loads.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return;
  syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
}

}  // namespace node_kvm
