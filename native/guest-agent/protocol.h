// The protocol between the agent and the host: lib/agent/protocol.ts has the same, in words too.
#ifndef NODE_KVM_GUEST_AGENT_PROTOCOL_H_
#define NODE_KVM_GUEST_AGENT_PROTOCOL_H_

#include <stdint.h>

enum {
  kVersion = 2,
  // "nkga", little-endian.
  kMagic = 0x61676b6e,
  // The host's port that the agent connects to.
  kPort = 28267,

  kSessionsMax = 32,
  // Bytes of a frame's payload: of one that starts a session, and of any other.
  kRequestMax = 262144,
  kPayloadMax = 32768,
  // Bytes that may be under way on a stream before its receiver has granted more.
  kInputWindow = 65536,
  kOutputWindow = 262144,
};

// Little-endian, as the processor is.
struct FrameHeader {
  uint32_t length;  // of the payload, which follows
  uint16_t session;
  uint8_t type;
  uint8_t stream;
};

enum FrameType {
  kHello = 1,
  kExec,
  kRead,
  kWrite,
  kData,
  kEof,
  kCredit,
  kSignal,
  kResize,
  kClose,
  kPing,
  kPong,
  kStarted,
  kFailed,
  kExit,
  kList,
  kReadLink,
  kMakeDirectory,
  kMakeLink,
};

enum Stream { kStdin, kStdout, kStderr };

struct Hello {
  uint32_t magic;
  uint32_t version;
};

enum { kExecTty = 1 };

// Strings follow, each with its NUL: the working directory, `argc` arguments, `envc` variables.
struct ExecRequest {
  uint32_t flags;
  uint32_t uid;
  uint32_t gid;
  uint16_t rows;
  uint16_t columns;
  uint32_t argc;
  uint32_t envc;
};

// What failed, for kFailed.
enum Step { kStepRequest, kStepResources, kStepUser, kStepDirectory, kStepExec, kStepFile };

struct Failure {
  uint32_t error;  // errno
  uint32_t step;
};

struct Exit {
  uint32_t code;
  uint32_t signal;  // 0 if the program ended by itself
};

struct FileStarted {
  uint32_t mode;
  uint32_t reserved;
  uint64_t size;
};

#endif
