#include "session.h"

#include "connection.h"

struct Session sessions[kSessionsMax];

struct Session* FindSession(uint16_t id) {
  for (int i = 0; i < kSessionsMax; i++) {
    if (sessions[i].kind != kFree && sessions[i].id == id) return &sessions[i];
  }
  return NULL;
}

struct Session* NewSession(uint16_t id, enum Kind kind) {
  if (FindSession(id) != NULL) return NULL;
  for (int i = 0; i < kSessionsMax; i++) {
    struct Session* session = &sessions[i];
    if (session->kind != kFree) continue;
    session->kind = kind;
    session->id = id;
    session->input = session->output[0] = session->output[1] = session->terminal = -1;
    session->credit[0] = session->credit[1] = kOutputWindow;
    session->pid = 0;
    session->exited = session->tty = session->input_ended = false;
    session->pending_at = session->pending = 0;
    return session;
  }
  return NULL;
}

void Fail(uint16_t id, long result, enum Step step) {
  const struct Failure failure = {(uint32_t)-result, step};
  Send(id, kFailed, 0, &failure, sizeof failure);
}

void GrantInput(struct Session* session, uint32_t count) {
  if (count > 0) Send(session->id, kCredit, kStdin, &count, sizeof count);
}

void PumpOutput(struct Session* session, int index) {
  uint32_t room = session->credit[index] < kPayloadMax ? session->credit[index] : kPayloadMax;
  long count = SYSCALL3(read, session->output[index], DataBuffer(), room);
  if (count == -EINTR || count == -EAGAIN) return;
  uint8_t stream = (uint8_t)(kStdout + index);
  if (count > 0) {
    session->credit[index] -= (uint32_t)count;
    SendData(session->id, stream, (uint32_t)count);
    return;
  }
  // A terminal whose last user is gone gives EIO.
  Close(&session->output[index]);
  Send(session->id, kEof, stream, NULL, 0);
  FreeIfOver(session);
}
