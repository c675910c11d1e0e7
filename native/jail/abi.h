// What the kernel's headers of an older system lack: Landlock (kernel 5.13, its later parts 6.7
// and 6.12).
#pragma once

#include <stdint.h>
#include <sys/syscall.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum {
  RULE_PATH_BENEATH = 1,
  RULE_NET_PORT = 2,
  CREATE_RULESET_VERSION = 1,
};

// Rights of files, in the order in which the kernel got them.
#define FS_EXECUTE (1ULL << 0)
#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_ALL_ABI1 ((1ULL << 13) - 1)
#define FS_REFER (1ULL << 13)      // ABI 2
#define FS_TRUNCATE (1ULL << 14)   // ABI 3
#define FS_IOCTL_DEV (1ULL << 15)  // ABI 5
#define NET_BIND_TCP (1ULL << 0)   // ABI 4
#define NET_CONNECT_TCP (1ULL << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)  // ABI 6
#define SCOPE_SIGNAL (1ULL << 1)

struct ruleset_attr {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};

struct path_beneath_attr {
  uint64_t allowed_access;
  int32_t parent_fd;
} __attribute__((packed));

struct net_port_attr {
  uint64_t allowed_access;
  uint64_t port;
};
