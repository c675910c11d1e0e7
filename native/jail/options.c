#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"

static const char kUsage[] =
    "usage: node-kvm-jail [OPTION...] -- PROGRAM [ARGUMENT...]\n"
    "Starts a program that may do nothing but what is said here, nor gain more by another "
    "program:\n"
    "  --read PATH      files at or below PATH: read\n"
    "  --exec PATH      the same, and execute\n"
    "  --write PATH     the same as --read, and write, create and remove\n"
    "  --device PATH    open a device file for reading and writing, with its ioctls\n"
    "  --system         what dynamic programs need: --exec of /usr, /lib, /lib64 and /bin, --read "
    "of a\n"
    "                   few files of /etc, /proc and /sys, --device of /dev/null and /dev/urandom\n"
    "  --kvm            --device /dev/kvm\n"
    "  --connect PORT   connect to a TCP port\n"
    "  --bind PORT      listen on a TCP port\n"
    "  --limit NAME=N   a resource limit: as, core, cpu, fsize, memlock, nofile, nproc, stack\n"
    "  --die-with-parent  end when the thread that started this does\n"
    "  --keep-fd N      leave a descriptor open; others but 0, 1 and 2 are closed\n"
    "  --no-filter      without the filter of system calls\n"
    "  --best-effort    go on where the kernel has no Landlock, or one that knows less\n";

void Fail(const char* what, const char* value) {
  fprintf(stderr, "node-kvm-jail: %s%s%s\n", what, value ? ": " : "", value ? value : "");
  exit(2);
}

static uint64_t Number(const char* text, const char* what, uint64_t most) {
  char* end = NULL;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || errno || value > most) Fail(what, text);
  return value;
}

static void AddPath(struct options* options, const char* path, uint64_t access) {
  if (options->path_count == RULES_MAX) Fail("too many paths", path);
  options->paths[options->path_count++] = (struct rule){.path = path, .access = access};
}

static void AddPort(struct options* options, const char* port, uint64_t access) {
  if (options->port_count == RULES_MAX) Fail("too many ports", port);
  uint64_t number = Number(port, "a port is a number up to 65535", 65535);
  options->ports[options->port_count++] = (struct rule){.port = number, .access = access};
}

static void AddLimit(struct options* options, const char* text) {
  static const struct {
    const char* name;
    int resource;
  } kNames[] = {
      {"as", RLIMIT_AS},       {"core", RLIMIT_CORE},       {"cpu", RLIMIT_CPU},
      {"fsize", RLIMIT_FSIZE}, {"memlock", RLIMIT_MEMLOCK}, {"nofile", RLIMIT_NOFILE},
      {"nproc", RLIMIT_NPROC}, {"stack", RLIMIT_STACK},
  };
  const char* value = strchr(text, '=');
  for (size_t i = 0; value && i < sizeof kNames / sizeof *kNames; i++) {
    size_t length = (size_t)(value - text);
    if (strlen(kNames[i].name) != length || strncmp(kNames[i].name, text, length) != 0) continue;
    if (options->limit_count == LIMITS_MAX) Fail("too many limits", text);
    rlim_t number = Number(value + 1, "a limit is a number", UINT64_MAX);
    options->limits[options->limit_count++] =
        (struct limit){.resource = kNames[i].resource, .value = {number, number}};
    return;
  }
  Fail("a limit is NAME=N, of as, core, cpu, fsize, memlock, nofile, nproc, stack", text);
}

static const uint64_t kRead = FS_READ_FILE | FS_READ_DIR;
static const uint64_t kExecute = FS_READ_FILE | FS_READ_DIR | FS_EXECUTE;
static const uint64_t kWrite = (FS_ALL_ABI1 & ~FS_EXECUTE) | FS_REFER | FS_TRUNCATE;
static const uint64_t kDevice = FS_READ_FILE | FS_WRITE_FILE | FS_IOCTL_DEV;

static void AddSystem(struct options* options) {
  static const char* const kPrograms[] = {"/usr", "/lib", "/lib64", "/bin"};
  static const char* const kFiles[] = {
      "/etc/ld.so.cache",
      "/etc/nsswitch.conf",
      "/etc/resolv.conf",
      "/etc/hosts",
      "/etc/localtime",
      "/etc/ssl",
      "/proc/self",
      "/proc/cpuinfo",
      "/proc/meminfo",
      "/proc/stat",
      "/proc/sys/vm/overcommit_memory",
      "/sys/devices/system/cpu",
      "/sys/module",
      "/sys/kernel/mm",
      "/sys/fs/cgroup",
  };
  static const char* const kDevices[] = {"/dev/null", "/dev/urandom"};
  for (size_t i = 0; i < sizeof kPrograms / sizeof *kPrograms; i++)
    AddPath(options, kPrograms[i], kExecute);
  for (size_t i = 0; i < sizeof kFiles / sizeof *kFiles; i++) AddPath(options, kFiles[i], kRead);
  for (size_t i = 0; i < sizeof kDevices / sizeof *kDevices; i++)
    AddPath(options, kDevices[i], kDevice);
}

void ParseOptions(int argc, char** argv, struct options* options) {
  *options = (struct options){.filter = true};
  int i = 1;
  for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
    const char* name = argv[i];
    if (strcmp(name, "--help") == 0) {
      fputs(kUsage, stdout);
      exit(0);
    }
    if (strcmp(name, "--system") == 0)
      AddSystem(options);
    else if (strcmp(name, "--kvm") == 0)
      AddPath(options, "/dev/kvm", kDevice);
    else if (strcmp(name, "--no-filter") == 0)
      options->filter = false;
    else if (strcmp(name, "--best-effort") == 0)
      options->best_effort = true;
    else if (strcmp(name, "--die-with-parent") == 0)
      options->die_with_parent = true;
    else {
      if (i + 1 == argc || strcmp(argv[i + 1], "--") == 0)
        Fail("there is no such option, or it wants a value", name);
      const char* value = argv[++i];
      if (strcmp(name, "--read") == 0)
        AddPath(options, value, kRead);
      else if (strcmp(name, "--exec") == 0)
        AddPath(options, value, kExecute);
      else if (strcmp(name, "--write") == 0)
        AddPath(options, value, kWrite);
      else if (strcmp(name, "--device") == 0)
        AddPath(options, value, kDevice);
      else if (strcmp(name, "--connect") == 0)
        AddPort(options, value, NET_CONNECT_TCP);
      else if (strcmp(name, "--bind") == 0)
        AddPort(options, value, NET_BIND_TCP);
      else if (strcmp(name, "--limit") == 0)
        AddLimit(options, value);
      else if (strcmp(name, "--keep-fd") == 0) {
        if (options->fd_count == FDS_MAX) Fail("too many descriptors", value);
        options->fds[options->fd_count++] =
            (int)Number(value, "a descriptor is a number", INT32_MAX);
      } else
        Fail("there is no such option", name);
    }
  }
  if (i + 1 >= argc) {
    fputs(kUsage, stderr);
    exit(2);
  }
  options->program = argv + i + 1;
}
