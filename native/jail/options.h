#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

enum { RULES_MAX = 256, FDS_MAX = 64, LIMITS_MAX = 16 };

// A path or a port, and what may be done with it.
struct rule {
  const char* path;
  uint64_t port;
  uint64_t access;
};

struct limit {
  int resource;
  struct rlimit value;
};

// What the command line says.
struct options {
  struct rule paths[RULES_MAX];
  int path_count;
  struct rule ports[RULES_MAX];
  int port_count;
  int fds[FDS_MAX];
  int fd_count;
  struct limit limits[LIMITS_MAX];
  int limit_count;
  // Go on where the kernel has no Landlock, or an old one.
  bool best_effort;
  bool filter;
  bool die_with_parent;
  char** program;
};

// Ends the process with status 2 for what it does not understand.
void ParseOptions(int argc, char** argv, struct options* options);
_Noreturn void Fail(const char* what, const char* value);
