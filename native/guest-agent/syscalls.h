// Linux system calls without a C library: results are those of the kernel, -errno for an error.
#ifndef NODE_KVM_GUEST_AGENT_SYSCALLS_H_
#define NODE_KVM_GUEST_AGENT_SYSCALLS_H_

#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/signal.h>
#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/wait.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline long Syscall(long number, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                   : "rcx", "r11", "memory");
  return result;
}

#define SYSCALL0(name) Syscall(__NR_##name, 0, 0, 0, 0)
#define SYSCALL1(name, a) Syscall(__NR_##name, (long)(a), 0, 0, 0)
#define SYSCALL2(name, a, b) Syscall(__NR_##name, (long)(a), (long)(b), 0, 0)
#define SYSCALL3(name, a, b, c) Syscall(__NR_##name, (long)(a), (long)(b), (long)(c), 0)
#define SYSCALL4(name, a, b, c, d) Syscall(__NR_##name, (long)(a), (long)(b), (long)(c), (long)(d))

static inline void Close(int* fd) {
  if (*fd >= 0) SYSCALL1(close, *fd);
  *fd = -1;
}

// What the compiler itself calls.
void* memcpy(void* to, const void* from, size_t count);
void* memset(void* to, int value, size_t count);

static inline size_t Length(const char* text) {
  size_t length = 0;
  while (text[length] != '\0') length++;
  return length;
}

static inline bool StartsWith(const char* text, const char* start) {
  while (*start != '\0') {
    if (*text++ != *start++) return false;
  }
  return true;
}

#endif
