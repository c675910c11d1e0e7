// The agent in the guest, with a kernel that does what the input says: what comes from the host,
// and how each system call ends. All of it is one file here, so that what is static can be called.
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

// Not by the C library's headers, whose types are others than the kernel's.
void abort(void) __attribute__((noreturn));
void* memcpy(void* to, const void* from, size_t count);
void* memset(void* to, int value, size_t count);
size_t strlen(const char* text);
int strncmp(const char* a, const char* b, size_t count);

// Its own header of system calls is left out for what follows.
#define NODE_KVM_GUEST_AGENT_SYSCALLS_H_
static long Syscall(long number, long a, long b, long c, long d);
#define SYSCALL0(name) Syscall(__NR_##name, 0, 0, 0, 0)
#define SYSCALL1(name, a) Syscall(__NR_##name, (long)(a), 0, 0, 0)
#define SYSCALL2(name, a, b) Syscall(__NR_##name, (long)(a), (long)(b), 0, 0)
#define SYSCALL3(name, a, b, c) Syscall(__NR_##name, (long)(a), (long)(b), (long)(c), 0)
#define SYSCALL4(name, a, b, c, d) Syscall(__NR_##name, (long)(a), (long)(b), (long)(c), (long)(d))
#define Length(text) strlen(text)
#define StartsWith(text, start) (strncmp(text, start, strlen(start)) == 0)
static void Close(int* fd) {
  if (*fd >= 0) SYSCALL1(close, *fd);
  *fd = -1;
}

#include "native/guest-agent/connection.c"
#include "native/guest-agent/directory.c"
#include "native/guest-agent/file.c"
#include "native/guest-agent/main.c"
#include "native/guest-agent/process.c"
#include "native/guest-agent/session.c"

enum { kConnection = 3, kFirstFd = 10, kFdsEnd = 1000, kCallsMax = 4000, kPid = 100 };

static const uint8_t* from;
static size_t left;
static int calls, next_fd, next_pid;
static bool open_fds[kFdsEnd];

static uint8_t TakeByte(void) {
  if (left == 0) return 0;
  left--;
  return *from++;
}

static size_t TakeBytes(void* to, size_t count) {
  if (count > left) count = left;
  memcpy(to, from, count);
  from += count;
  left -= count;
  return count;
}

static long NewFd(void) {
  if (next_fd >= kFdsEnd) return -EMFILE;
  open_fds[next_fd] = true;
  return next_fd++;
}

static void Use(long fd) {
  if (fd != kConnection && fd != child_events && (fd < kFirstFd || !open_fds[fd])) abort();
}

// Frames whole, with no more than a payload may have.
static void CheckSent(const uint8_t* bytes, size_t length) {
  struct FrameHeader header;
  if (length < sizeof header) abort();
  memcpy(&header, bytes, sizeof header);
  if (header.length > kPayloadMax || length != sizeof header + header.length) abort();
  for (size_t i = 0; i < length; i++) {
    volatile uint8_t read = bytes[i];
    (void)read;
  }
}

static long Read(long fd, void* to, size_t room) {
  Use(fd);
  if (fd == child_events) return -EAGAIN;
  if (fd == kConnection) {
    size_t count = 1 + (size_t)TakeByte() * 8;
    return (long)TakeBytes(to, count < room ? count : room);
  }
  uint8_t how = TakeByte();
  if (how == 0) return 0;
  if (how < 4) return -EINTR;
  if (how < 8) return -EIO;
  size_t count = (size_t)how * 40 < room ? (size_t)how * 40 : room;
  memset(to, how, count);
  return (long)count;
}

static long Syscall(long number, long a, long b, long c, long d) {
  (void)d;
  // Whatever waits for something that never comes finds the connection gone.
  if (++calls > kCallsMax) left = 0;
  uint8_t how = 255;
  switch (number) {
    case __NR_read:
      return Read(a, (void*)b, (size_t)c);
    case __NR_write:
      // What is said of sessions when the connection has gone.
      if (a == -1) return -EBADF;
      Use(a);
      if (a == kConnection) {
        CheckSent((const uint8_t*)b, (size_t)c);
        return c;
      }
      how = TakeByte();
      if (how < 4) return calls > kCallsMax ? -EPIPE : -EINTR;
      if (how < 8) return -EAGAIN;
      if (how < 12) return -EPIPE;
      return how < 64 && c > how ? how : c;
    case __NR_close:
      Use(a);
      if (a >= kFirstFd) open_fds[a] = false;
      return 0;
    case __NR_open:
      (void)strlen((const char*)a);
      return TakeByte() < 32 ? -ENOENT : NewFd();
    case __NR_pipe2: {
      int* ends = (int*)a;
      if (TakeByte() < 8) return -EMFILE;
      long near = NewFd(), far = NewFd();
      if (near < 0 || far < 0) return -EMFILE;
      ends[0] = (int)near;
      ends[1] = (int)far;
      return 0;
    }
    case __NR_fcntl:
      Use(a);
      return b == F_DUPFD_CLOEXEC ? NewFd() : 0;
    case __NR_ioctl:
      Use(a);
      if (TakeByte() < 8) return -EINVAL;
      return b == TIOCGPTPEER ? NewFd() : 0;
    case __NR_fork:
      return TakeByte() < 8 ? -EAGAIN : kPid + next_pid++;
    case __NR_wait4:
      if (a != -1) return a;
      if (TakeByte() < 128 || next_pid == 0) return 0;
      if (b) *(int*)b = TakeByte() << 8;
      return kPid + TakeByte() % next_pid;
    case __NR_kill:
      // A process group of its own, never everything.
      if (a > -kPid || a <= -kPid - next_pid) abort();
      return 0;
    case __NR_poll: {
      struct pollfd* fds = (struct pollfd*)a;
      how = TakeByte();
      for (long i = 0; i < b; i++) {
        Use(fds[i].fd);
        fds[i].revents = (how >> (i % 8) & 1) != 0 ? fds[i].events : 0;
      }
      fds[0].revents = POLLIN;
      return b;
    }
    case __NR_fstat:
    case __NR_stat:
      memset((void*)b, TakeByte(), sizeof(struct stat));
      return TakeByte() < 8 ? -EIO : 0;
    case __NR_readlink: {
      size_t count = (size_t)TakeByte() * 17;
      if (count > (size_t)c) count = (size_t)c;
      memset((void*)b, 'x', count);
      return (long)count;
    }
    case __NR_getdents64: {
      how = TakeByte();
      size_t count = (size_t)how * 24 < (size_t)c ? (size_t)how * 24 : (size_t)c;
      memset((void*)b, how, count);
      return (long)count;
    }
    case __NR_symlink:
    case __NR_rename:
      if (strlen((const char*)a) >= 300000 || strlen((const char*)b) >= 300000) abort();
      return TakeByte() < 32 ? -EEXIST : 0;
    case __NR_mkdir:
    case __NR_unlink:
    case __NR_chmod:
      (void)strlen((const char*)a);
      return TakeByte() < 32 ? -EEXIST : 0;
    default:
      return 0;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  from = data;
  left = size;
  calls = next_pid = 0;
  next_fd = kFirstFd;
  memset(open_fds, 0, sizeof open_fds);
  child_events = 4;
  if (!ConnectFd(kConnection)) abort();
  Serve();
  calls = 0;
  DropAll();
  for (int fd = 0; fd < kFdsEnd; fd++) {
    // The near ends that a failed start has left open, and whatever else.
    if (open_fds[fd]) abort();
  }
  return 0;
}
