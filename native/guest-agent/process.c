#include <linux/close_range.h>

#include "connection.h"
#include "session.h"

enum { kStringsMax = 8192, kPathMax = 4096 };

// Pointers into the request: arguments, NULL, environment, NULL.
static char* strings[kStringsMax + 2];

static const char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct Child {
  struct ExecRequest request;
  const char* directory;
  char** arguments;
  char** environment;
  int stdio[3];
  int terminal;
};

// Cuts the request into strings, and NULL after each list. Returns false if it holds fewer than it
// says.
static bool Parse(struct Child* child, uint8_t* payload, uint32_t length) {
  if (length < sizeof child->request) return false;
  memcpy(&child->request, payload, sizeof child->request);
  const struct ExecRequest* request = &child->request;
  if (request->argc == 0 || request->argc > kStringsMax) return false;
  if (request->envc > kStringsMax - request->argc) return false;
  char* at = (char*)payload + sizeof *request;
  char* end = (char*)payload + length;
  child->directory = at;
  if (at >= end) return false;
  child->arguments = strings;
  child->environment = strings + request->argc + 1;
  uint32_t count = request->argc + request->envc;
  for (uint32_t i = 0; i < count; i++) {
    at += Length(at) + 1;
    if (at >= end) return false;
    strings[i < request->argc ? i : i + 1] = at;
  }
  strings[request->argc] = NULL;
  child->environment[request->envc] = NULL;
  return true;
}

static const char* PathOf(char** environment) {
  for (; *environment != NULL; environment++) {
    if (StartsWith(*environment, "PATH=")) return *environment + 5;
  }
  return kDefaultPath;
}

// execvp: returns the error of the last candidate, or of one that is there and cannot be run.
static long Execute(const struct Child* child) {
  const char* name = child->arguments[0];
  for (const char* at = name; *at != '\0'; at++) {
    if (*at == '/') return SYSCALL3(execve, name, child->arguments, child->environment);
  }
  long error = -ENOENT;
  size_t length = Length(name);
  for (const char* path = PathOf(child->environment); length > 0;) {
    size_t folder = 0;
    while (path[folder] != '\0' && path[folder] != ':') folder++;
    char candidate[kPathMax];
    if (folder + length + 2 <= sizeof candidate) {
      memcpy(candidate, path, folder);
      if (folder > 0) candidate[folder] = '/';
      memcpy(candidate + folder + (folder > 0), name, length + 1);
      long result = SYSCALL3(execve, candidate, child->arguments, child->environment);
      if (result != -ENOENT && result != -ENOTDIR) error = result;
    }
    if (path[folder] == '\0') break;
    path += folder + 1;
  }
  return error;
}

// In the child: all that lies between fork and the program. Returns what failed.
static long Become(const struct Child* child, enum Step* step) {
  const struct ExecRequest* request = &child->request;
  const uint64_t none = 0;
  SYSCALL4(rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
  SYSCALL0(setsid);
  *step = kStepResources;
  for (int fd = 0; fd < 3; fd++) {
    long result = SYSCALL2(dup2, child->stdio[fd], fd);
    if (result < 0) return result;
  }
  if (child->terminal >= 0) SYSCALL3(ioctl, 0, TIOCSCTTY, 0);
  // What the agent itself was started with. Older kernels lack the call (5.11), and ours are all
  // close-on-exec.
  SYSCALL3(close_range, 3, -1, CLOSE_RANGE_CLOEXEC);
  *step = kStepUser;
  if (request->uid != 0 || request->gid != 0) {
    long result = SYSCALL2(setgroups, 0, NULL);
    if (result == 0) result = SYSCALL1(setgid, request->gid);
    if (result == 0) result = SYSCALL1(setuid, request->uid);
    if (result != 0) return result;
  }
  *step = kStepDirectory;
  long result = SYSCALL1(chdir, child->directory);
  if (result != 0) return result;
  *step = kStepExec;
  return Execute(child);
}

// Returns the child's pid once its program runs, or what failed and where.
static long Spawn(const struct Child* child, enum Step* step) {
  int report[2];
  *step = kStepResources;
  long result = SYSCALL2(pipe2, report, O_CLOEXEC);
  if (result < 0) return result;
  long pid = SYSCALL0(fork);
  if (pid == 0) {
    enum Step failed = kStepResources;
    long error = Become(child, &failed);
    const struct Failure failure = {(uint32_t)-error, failed};
    SYSCALL3(write, report[1], &failure, sizeof failure);
    SYSCALL1(exit_group, 127);
  }
  Close(&report[1]);
  struct Failure failure;
  long count = 0;
  if (pid > 0) {
    do count = SYSCALL3(read, report[0], &failure, sizeof failure);
    while (count == -EINTR);
  }
  Close(&report[0]);
  if (count != sizeof failure) return pid;
  SYSCALL4(wait4, pid, NULL, 0, NULL);
  *step = failure.step;
  return -(long)failure.error;
}

struct winsize {
  uint16_t rows, columns, pixels[2];
};

// The near ends, which are ours: [0] to write to, [1] and [2] to read from.
static long OpenTerminal(struct Child* child, int near[3]) {
  int master = (int)SYSCALL2(open, "/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (master < 0) return master;
  const int locked = 0;
  long slave = SYSCALL3(ioctl, master, TIOCSPTLCK, &locked);
  if (slave == 0) slave = SYSCALL3(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  near[0] = master;
  if (slave < 0) return slave;
  const struct winsize size = {child->request.rows, child->request.columns, {0, 0}};
  SYSCALL3(ioctl, master, TIOCSWINSZ, &size);
  child->terminal = child->stdio[0] = child->stdio[1] = child->stdio[2] = (int)slave;
  long output = SYSCALL3(fcntl, master, F_DUPFD_CLOEXEC, 0);
  near[1] = (int)output;
  return output < 0 ? output : 0;
}

static long OpenPipes(struct Child* child, int near[3]) {
  for (int fd = 0; fd < 3; fd++) {
    int ends[2];
    long result = SYSCALL2(pipe2, ends, O_CLOEXEC);
    if (result < 0) return result;
    near[fd] = ends[fd == 0 ? 1 : 0];
    child->stdio[fd] = ends[fd == 0 ? 0 : 1];
  }
  return SYSCALL3(fcntl, near[0], F_SETFL, O_NONBLOCK);
}

void StartProcess(uint16_t id, uint8_t* payload, uint32_t length) {
  struct Child child = {.stdio = {-1, -1, -1}, .terminal = -1};
  if (!Parse(&child, payload, length)) return Fail(id, -EINVAL, kStepRequest);
  struct Session* session = NewSession(id, kProcess);
  if (session == NULL) return Fail(id, -EAGAIN, kStepResources);
  session->tty = (child.request.flags & kExecTty) != 0;
  int near[3] = {-1, -1, -1};
  enum Step step = kStepResources;
  long result = session->tty ? OpenTerminal(&child, near) : OpenPipes(&child, near);
  if (result >= 0) result = Spawn(&child, &step);
  session->terminal = child.terminal;
  for (int fd = 0; fd < 3 && child.terminal < 0; fd++) Close(&child.stdio[fd]);
  session->input = near[0];
  session->output[0] = near[1];
  session->output[1] = near[2];
  if (result < 0) {
    Close(&session->input);
    Close(&session->output[0]);
    Close(&session->output[1]);
    Close(&session->terminal);
    session->kind = kFree;
    return Fail(id, result, step);
  }
  session->pid = (int)result;
  const uint32_t pid = (uint32_t)result;
  Send(id, kStarted, 0, &pid, sizeof pid);
  if (session->tty) Send(id, kEof, kStderr, NULL, 0);
}

bool TakeInput(struct Session* session, const uint8_t* bytes, uint32_t length) {
  if (session->input_ended || length > kInputWindow - session->pending) return false;
  if (session->input < 0) {
    GrantInput(session, length);
    return true;
  }
  for (uint32_t i = 0; i < length; i++) {
    session->ring[(session->pending_at + session->pending + i) % kInputWindow] = bytes[i];
  }
  session->pending += length;
  PumpInput(session);
  return true;
}

void EndInput(struct Session* session) {
  session->input_ended = true;
  if (session->pending == 0) {
    if (session->tty && session->input >= 0) SYSCALL3(write, session->input, "\4", 1);
    Close(&session->input);
  }
}

void PumpInput(struct Session* session) {
  uint32_t taken = 0;
  while (session->pending > 0) {
    uint32_t run = kInputWindow - session->pending_at;
    if (run > session->pending) run = session->pending;
    long count = SYSCALL3(write, session->input, session->ring + session->pending_at, run);
    if (count == -EAGAIN || count == -EINTR) break;
    if (count < 0) {
      // The program reads no more: whatever comes is let go.
      Close(&session->input);
      count = session->pending;
    }
    session->pending_at = (session->pending_at + (uint32_t)count) % kInputWindow;
    session->pending -= (uint32_t)count;
    taken += (uint32_t)count;
  }
  GrantInput(session, taken);
  if (session->input_ended) EndInput(session);
}

void SignalProcess(struct Session* session, uint32_t number) {
  // Its process group: the program is the leader of a session of its own.
  if (!session->exited && number <= 64) SYSCALL2(kill, -session->pid, number);
}

void ResizeTerminal(struct Session* session, uint16_t rows, uint16_t columns) {
  const struct winsize size = {rows, columns, {0, 0}};
  if (session->tty && session->output[0] >= 0)
    SYSCALL3(ioctl, session->output[0], TIOCSWINSZ, &size);
}

void ReapProcesses(void) {
  for (;;) {
    int status = 0;
    long pid = SYSCALL4(wait4, -1, &status, WNOHANG, NULL);
    if (pid <= 0) return;
    for (int i = 0; i < kSessionsMax; i++) {
      struct Session* session = &sessions[i];
      if (session->kind != kProcess || session->exited || session->pid != pid) continue;
      session->exited = true;
      Close(&session->terminal);
      // wait(2): the low seven bits are the signal, the second byte is the exit status.
      const struct Exit ending = {(status >> 8) & 0xff, status & 0x7f};
      Send(session->id, kExit, 0, &ending, sizeof ending);
      FreeIfOver(session);
    }
  }
}

void DropProcess(struct Session* session) {
  if (!session->exited) SYSCALL2(kill, -session->pid, SIGKILL);
  Close(&session->input);
  Close(&session->terminal);
  session->pending = 0;
  for (int index = 0; index < 2; index++) {
    if (session->output[index] < 0) continue;
    Close(&session->output[index]);
    Send(session->id, kEof, (uint8_t)(kStdout + index), NULL, 0);
  }
  FreeIfOver(session);
}

void FreeIfOver(struct Session* session) {
  if (session->kind != kProcess) return;
  if (!session->exited || session->output[0] >= 0 || session->output[1] >= 0) return;
  Close(&session->input);
  session->kind = kFree;
}
