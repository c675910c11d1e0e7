// A session is a program or a file that the host works with over the connection.
#ifndef NODE_KVM_GUEST_AGENT_SESSION_H_
#define NODE_KVM_GUEST_AGENT_SESSION_H_

#include "protocol.h"
#include "syscalls.h"

enum Kind { kFree, kProcess, kReadFile, kWriteFile, kListDirectory };

struct Session {
  enum Kind kind;
  uint16_t id;
  int input;      // to the program, or the file that is written
  int output[2];  // from the program: standard output and error; or the file or folder that is read
  uint32_t credit[2];

  // A program's.
  int pid;
  bool exited;
  bool tty;
  // The program's end of its terminal, held until it has exited: when a master sees that all others
  // have closed theirs and closes too, the hangup may kill a program that is about to exit.
  int terminal;
  // Standard input that the program has not taken yet, a ring.
  uint32_t pending_at;
  uint32_t pending;
  bool input_ended;
  uint8_t ring[kInputWindow];

  // A written file's: it gets its name when it is whole.
  uint32_t mode;
  char path[4096];
  char temporary[4096];
};

extern struct Session sessions[kSessionsMax];

struct Session* FindSession(uint16_t id);
// A free session, or NULL.
struct Session* NewSession(uint16_t id, enum Kind kind);
// Tells the host why a session ends or does not begin.
void Fail(uint16_t id, long result, enum Step step);
void GrantInput(struct Session* session, uint32_t count);
// Passes on what can be read of an output; tells the host of its end.
void PumpOutput(struct Session* session, int index);

// process.c
void StartProcess(uint16_t id, uint8_t* payload, uint32_t length);
bool TakeInput(struct Session* session, const uint8_t* bytes, uint32_t length);
void EndInput(struct Session* session);
void PumpInput(struct Session* session);
void SignalProcess(struct Session* session, uint32_t number);
void ResizeTerminal(struct Session* session, uint16_t rows, uint16_t columns);
void ReapProcesses(void);
void DropProcess(struct Session* session);
void FreeIfOver(struct Session* session);

// file.c
void EndFile(struct Session* session, long result);
void SendFileStarted(uint16_t id, uint32_t mode, uint64_t size);
void SendFileEnded(uint16_t id);
void StartRead(uint16_t id, const char* path, uint32_t length);
void StartWrite(uint16_t id, uint32_t mode, const char* path, uint32_t length);
void PumpFile(struct Session* session);
// Whether there is credit enough for what is read next.
bool MayPumpFile(const struct Session* session);
bool WriteFile(struct Session* session, const uint8_t* bytes, uint32_t length);
void FinishFile(struct Session* session);
void DropFile(struct Session* session);

// directory.c
void StartList(uint16_t id, const char* path, uint32_t length);
void SendLink(uint16_t id, const char* path, uint32_t length);
void MakeDirectory(uint16_t id, uint32_t mode, const char* path, uint32_t length);
void MakeLink(uint16_t id, const char* strings, uint32_t length);

#endif
