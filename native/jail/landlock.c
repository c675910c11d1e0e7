#include "landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi.h"

// What the running kernel's version of Landlock (landlock(7)) can take away.
static struct ruleset_attr Handled(long abi) {
  struct ruleset_attr handled = {.handled_access_fs = FS_ALL_ABI1};
  if (abi >= 2) handled.handled_access_fs |= FS_REFER;
  if (abi >= 3) handled.handled_access_fs |= FS_TRUNCATE;
  if (abi >= 4) handled.handled_access_net = NET_BIND_TCP | NET_CONNECT_TCP;
  if (abi >= 5) handled.handled_access_fs |= FS_IOCTL_DEV;
  if (abi >= 6) handled.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
  return handled;
}

static void AddRule(int ruleset, int kind, const void* rule, const char* what) {
  if (syscall(SYS_landlock_add_rule, ruleset, kind, rule, 0) != 0) Fail(strerror(errno), what);
}

static void AddPath(int ruleset, const struct rule* rule, uint64_t handled) {
  struct path_beneath_attr beneath = {.allowed_access = rule->access & handled};
  beneath.parent_fd = open(rule->path, O_PATH | O_CLOEXEC);
  if (beneath.parent_fd < 0) {
    if (errno == ENOENT) return;  // nothing is there that could be allowed
    Fail(strerror(errno), rule->path);
  }
  // Only of directories may the rights of directories be given.
  struct stat status;
  if (fstat(beneath.parent_fd, &status) != 0) Fail(strerror(errno), rule->path);
  if (!S_ISDIR(status.st_mode))
    beneath.allowed_access &=
        FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV;
  AddRule(ruleset, RULE_PATH_BENEATH, &beneath, rule->path);
  close(beneath.parent_fd);
}

void RestrictFilesAndPorts(const struct options* options) {
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
  if (abi < 6 && !options->best_effort) {
    Fail(abi < 1 ? "this kernel has no Landlock: see --best-effort"
                 : "this kernel's Landlock is older than 6.12's: see --best-effort",
         NULL);
  }
  if (abi < 1) return;
  struct ruleset_attr handled = Handled(abi);
  size_t size = abi >= 6 ? sizeof handled : abi >= 4 ? 16 : 8;
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
  if (ruleset < 0) Fail("landlock_create_ruleset", strerror(errno));
  for (int i = 0; i < options->path_count; i++)
    AddPath(ruleset, &options->paths[i], handled.handled_access_fs);
  for (int i = 0; i < options->port_count && handled.handled_access_net; i++) {
    const struct rule* rule = &options->ports[i];
    struct net_port_attr port = {.allowed_access = rule->access, .port = rule->port};
    AddRule(ruleset, RULE_NET_PORT, &port, "a port");
  }
  if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
    Fail("landlock_restrict_self", strerror(errno));
  close(ruleset);
}
