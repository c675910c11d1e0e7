// node-kvm's guest agent: runs programs and copies files and folders for the host, over vsock.
//
//   node-kvm-agent               connects to the host, again and again
//   node-kvm-agent unix:PATH     to a Unix socket, once
//   node-kvm-agent fd:N          uses a connected socket that it inherited, once
//
// Needs no C library and allocates nothing: what it holds is bounded by the tables in session.h.
#include "connection.h"
#include "session.h"

enum { SFD_NONBLOCK = O_NONBLOCK, SFD_CLOEXEC = O_CLOEXEC };
enum { kRetryFirstMs = 50, kRetryMaxMs = 1000 };

static int child_events = -1;

static void Resize(struct Session* session, const uint8_t* payload) {
  uint16_t size[2];
  memcpy(size, payload, sizeof size);
  ResizeTerminal(session, size[0], size[1]);
}

static bool AddCredit(struct Session* session, uint8_t stream, uint32_t count) {
  if (stream != kStdout && stream != kStderr) return false;
  uint32_t* credit = &session->credit[stream - kStdout];
  if (count > kOutputWindow - *credit) return false;
  *credit += count;
  return true;
}

// A frame about a session that there is. What is wrong with one breaks the connection.
static bool HandleSession(struct Session* session, const struct FrameHeader* header,
                          const uint8_t* payload) {
  bool process = session->kind == kProcess;
  bool written = session->kind == kWriteFile;
  uint32_t word = 0;
  if (header->length >= sizeof word) memcpy(&word, payload, sizeof word);
  switch (header->type) {
    case kData:
      if (process) return TakeInput(session, payload, header->length);
      return written && WriteFile(session, payload, header->length);
    case kEof:
      if (process) EndInput(session);
      if (written) FinishFile(session);
      return process || written;
    case kCredit:
      return header->length == sizeof word && AddCredit(session, header->stream, word);
    case kSignal:
      if (process) SignalProcess(session, word);
      return header->length == sizeof word;
    case kResize:
      if (process && header->length == sizeof word) Resize(session, payload);
      return header->length == sizeof word;
    case kClose:
      if (process) {
        DropProcess(session);
      } else {
        uint16_t id = session->id;
        DropFile(session);
        Fail(id, -ECANCELED, kStepFile);
      }
      return true;
    default:
      return false;
  }
}

static bool Handle(const struct FrameHeader* header, uint8_t* payload) {
  uint32_t mode = 0;
  switch (header->type) {
    case kHello:
      return true;
    case kPing:
      Send(0, kPong, 0, payload, header->length);
      return true;
    case kExec:
      StartProcess(header->session, payload, header->length);
      return true;
    case kRead:
      StartRead(header->session, (const char*)payload, header->length);
      return true;
    case kList:
      StartList(header->session, (const char*)payload, header->length);
      return true;
    case kReadLink:
      SendLink(header->session, (const char*)payload, header->length);
      return true;
    case kMakeLink:
      MakeLink(header->session, (const char*)payload, header->length);
      return true;
    case kWrite:
    case kMakeDirectory: {
      if (header->length < sizeof mode) return false;
      memcpy(&mode, payload, sizeof mode);
      const char* path = (const char*)payload + sizeof mode;
      uint32_t length = header->length - (uint32_t)sizeof mode;
      if (header->type == kWrite) StartWrite(header->session, mode, path, length);
      if (header->type == kMakeDirectory) MakeDirectory(header->session, mode, path, length);
      return true;
    }
    default: {
      // One that has just ended is none of the host's faults.
      struct Session* session = FindSession(header->session);
      return session == NULL || HandleSession(session, header, payload);
    }
  }
}

struct Watch {
  struct Session* session;
  int output;  // an index, or -1 for the input
};

// Serves the connection until it is over.
static void Serve(void) {
  static struct pollfd fds[2 + 3 * kSessionsMax];
  static struct Watch watches[2 + 3 * kSessionsMax];
  for (;;) {
    fds[0] = (struct pollfd){connection, POLLIN, 0};
    fds[1] = (struct pollfd){child_events, POLLIN, 0};
    unsigned count = 2;
    for (int i = 0; i < kSessionsMax; i++) {
      struct Session* session = &sessions[i];
      if (session->kind == kFree) continue;
      for (int output = 0; output < 2; output++) {
        if (session->output[output] < 0 || session->credit[output] == 0) continue;
        if (session->kind != kProcess && !MayPumpFile(session)) continue;
        watches[count] = (struct Watch){session, output};
        fds[count++] = (struct pollfd){session->output[output], POLLIN, 0};
      }
      if (session->input < 0 || session->pending == 0) continue;
      watches[count] = (struct Watch){session, -1};
      fds[count++] = (struct pollfd){session->input, POLLOUT, 0};
    }
    long ready = SYSCALL3(poll, fds, count, -1);
    if (ready == -EINTR) continue;
    if (ready < 0) return;
    // Sessions first: what the host sends may end some of them.
    for (unsigned i = 2; i < count; i++) {
      struct Session* session = watches[i].session;
      int output = watches[i].output;
      if (fds[i].revents == 0 || session->kind == kFree) continue;
      if (output < 0) {
        if (session->input >= 0) PumpInput(session);
      } else if (session->output[output] < 0) {
        continue;
      } else if (session->kind == kProcess) {
        PumpOutput(session, output);
      } else {
        PumpFile(session);
      }
    }
    if (fds[1].revents != 0) {
      uint8_t info[128];  // struct signalfd_siginfo
      while (SYSCALL3(read, child_events, info, sizeof info) > 0) continue;
      ReapProcesses();
    }
    if (fds[0].revents != 0 && !Receive(Handle)) return;
  }
}

static void DropAll(void) {
  Close(&connection);
  for (int i = 0; i < kSessionsMax; i++) {
    if (sessions[i].kind == kProcess) DropProcess(&sessions[i]);
    if (sessions[i].kind != kFree && sessions[i].kind != kProcess) DropFile(&sessions[i]);
    // Nobody is told of what is still to be reaped.
    sessions[i].kind = kFree;
  }
}

static int ParseNumber(const char* text) {
  int number = 0;
  for (; *text >= '0' && *text <= '9' && number < 100000; text++)
    number = number * 10 + *text - '0';
  return number;
}

static void SetUp(void) {
  // Descriptors of programs must not be among the first three, which they get moved to.
  long fd = SYSCALL2(open, "/dev/null", O_RDWR);
  while (fd >= 0 && fd < 3) fd = SYSCALL1(dup, fd);
  if (fd >= 3) SYSCALL1(close, fd);
  // Blocked, not ignored: programs would inherit that. A broken pipe is seen as EPIPE then.
  const uint64_t blocked = 1ull << (SIGCHLD - 1) | 1ull << (SIGPIPE - 1);
  SYSCALL4(rt_sigprocmask, SIG_BLOCK, &blocked, NULL, sizeof blocked);
  const uint64_t children = 1ull << (SIGCHLD - 1);
  child_events =
      (int)SYSCALL4(signalfd4, -1, &children, sizeof children, SFD_NONBLOCK | SFD_CLOEXEC);
}

int Main(int argc, char** argv) {
  SetUp();
  if (argc > 1) {
    bool connected = false;
    if (StartsWith(argv[1], "unix:")) connected = ConnectUnix(argv[1] + 5);
    if (StartsWith(argv[1], "fd:")) connected = ConnectFd(ParseNumber(argv[1] + 3));
    if (!connected) return 1;
    Serve();
    DropAll();
    return 0;
  }
  for (long delay = kRetryFirstMs;;) {
    if (ConnectVsock()) {
      Serve();
      DropAll();
      delay = kRetryFirstMs;
    }
    ReapProcesses();
    SYSCALL3(poll, NULL, 0, delay);
    if (delay < kRetryMaxMs) delay *= 2;
  }
}
