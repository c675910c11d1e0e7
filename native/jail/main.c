// node-kvm-jail: starts a program with nothing but what its command line allows. Linked statically,
// so that nothing of the system is loaded before it is in force.
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi.h"
#include "filter.h"
#include "landlock.h"
#include "options.h"

static int Compare(const void* one, const void* other) {
  return *(const int*)one - *(const int*)other;
}

// All but the standard streams and those to keep.
static void CloseDescriptors(struct options* options) {
  qsort(options->fds, (size_t)options->fd_count, sizeof(int), Compare);
  unsigned first = 3;
  for (int i = 0; i <= options->fd_count; i++) {
    unsigned next = i < options->fd_count ? (unsigned)options->fds[i] : ~0u;
    if (next < first) continue;
    if (next > first && syscall(SYS_close_range, first, next == ~0u ? next : next - 1, 0) != 0)
      Fail("close_range", strerror(errno));
    first = next + 1;
  }
}

static void DropCapabilities(void) {
  for (unsigned long capability = 0; capability <= 63; capability++)
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);  // fails past the last, and without CAP_SETPCAP
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}, {0}};
  if (syscall(SYS_capset, &header, none) != 0) Fail("capset", strerror(errno));
}

int main(int argc, char** argv) {
  static struct options options;
  ParseOptions(argc, argv, &options);
  CloseDescriptors(&options);
  // Lasts beyond execve, as the program has no privileges to gain (prctl(2)).
  if (options.die_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
    Fail("PR_SET_PDEATHSIG", strerror(errno));
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Fail("no_new_privs", strerror(errno));
  RestrictFilesAndPorts(&options);
  DropCapabilities();
  for (int i = 0; i < options.limit_count; i++) {
    const struct limit* limit = &options.limits[i];
    if (setrlimit((__rlimit_resource_t)limit->resource, &limit->value) != 0)
      Fail("setrlimit", strerror(errno));
  }
  if (options.filter) FilterSystemCalls();
  execv(options.program[0], options.program);
  Fail(options.program[0], strerror(errno));
}
