#include "connection.h"
#include "session.h"

static const char kSuffix[] = ".node-kvm-";

void EndFile(struct Session* session, long result) {
  uint16_t id = session->id;
  DropFile(session);
  if (result < 0) return Fail(id, result, kStepFile);
  SendFileEnded(id);
}

void SendFileStarted(uint16_t id, uint32_t mode, uint64_t size) {
  const struct FileStarted started = {mode & 07777, 0, size};
  Send(id, kStarted, 0, &started, sizeof started);
}

void SendFileEnded(uint16_t id) {
  const struct Exit ending = {0, 0};
  Send(id, kExit, 0, &ending, sizeof ending);
}

void StartRead(uint16_t id, const char* path, uint32_t length) {
  if (length == 0 || Length(path) + 1 < length) return Fail(id, -EINVAL, kStepRequest);
  struct Session* session = NewSession(id, kReadFile);
  if (session == NULL) return Fail(id, -EAGAIN, kStepResources);
  // Not to wait for what is no file, such as a FIFO without a writer.
  long fd = SYSCALL2(open, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return EndFile(session, fd);
  session->output[0] = (int)fd;
  struct stat status;
  long result = SYSCALL2(fstat, fd, &status);
  if (result < 0) return EndFile(session, result);
  enum { S_IFMT = 0170000, S_IFREG = 0100000, S_IFDIR = 0040000 };
  uint32_t type = status.st_mode & S_IFMT;
  if (type != S_IFREG) return EndFile(session, type == S_IFDIR ? -EISDIR : -EINVAL);
  SendFileStarted(id, status.st_mode, (uint64_t)status.st_size);
}

// getdents64(2) gives whole entries, and EINVAL if there is no room for one.
bool MayPumpFile(const struct Session* session) {
  enum { kEntryMax = 19 + 255 + 1 + 7 };
  return session->credit[0] >= (session->kind == kListDirectory ? kEntryMax : 1);
}

void PumpFile(struct Session* session) {
  uint32_t room = session->credit[0] < kPayloadMax ? session->credit[0] : kPayloadMax;
  long count = session->kind == kListDirectory
                   ? SYSCALL3(getdents64, session->output[0], DataBuffer(), room)
                   : SYSCALL3(read, session->output[0], DataBuffer(), room);
  if (count == -EINTR) return;
  if (count < 0) return EndFile(session, count);
  if (count > 0) {
    session->credit[0] -= (uint32_t)count;
    return SendData(session->id, kStdout, (uint32_t)count);
  }
  Send(session->id, kEof, kStdout, NULL, 0);
  EndFile(session, 0);
}

void StartWrite(uint16_t id, uint32_t mode, const char* path, uint32_t length) {
  size_t end = Length(path);
  struct Session* session = NewSession(id, kWriteFile);
  if (session == NULL) return Fail(id, -EAGAIN, kStepResources);
  session->temporary[0] = '\0';
  if (length == 0 || end + 1 < length) return EndFile(session, -EINVAL);
  if (end + sizeof kSuffix + 5 > sizeof session->temporary) return EndFile(session, -ENAMETOOLONG);
  session->mode = mode & 07777;
  memcpy(session->path, path, end + 1);
  memcpy(session->temporary, path, end);
  char* at = session->temporary + end;
  memcpy(at, kSuffix, sizeof kSuffix - 1);
  at += sizeof kSuffix - 1;
  for (uint32_t rest = id, digit = 0; digit < 5; digit++, rest /= 10)
    *at++ = (char)('0' + rest % 10);
  *at = '\0';
  // One that an agent which was killed has left.
  SYSCALL1(unlink, session->temporary);
  long fd = SYSCALL3(open, session->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    session->temporary[0] = '\0';
    return EndFile(session, fd);
  }
  session->input = (int)fd;
  SendFileStarted(id, session->mode, 0);
}

bool WriteFile(struct Session* session, const uint8_t* bytes, uint32_t length) {
  if (length > kInputWindow) return false;
  for (uint32_t done = 0; done < length;) {
    long count = SYSCALL3(write, session->input, bytes + done, length - done);
    if (count == -EINTR) continue;
    if (count <= 0) {
      EndFile(session, count == 0 ? -ENOSPC : count);
      return true;
    }
    done += (uint32_t)count;
  }
  GrantInput(session, length);
  return true;
}

void FinishFile(struct Session* session) {
  long result = SYSCALL2(fchmod, session->input, session->mode);
  if (result == 0) result = SYSCALL2(rename, session->temporary, session->path);
  if (result == 0) session->temporary[0] = '\0';
  EndFile(session, result);
}

void DropFile(struct Session* session) {
  Close(&session->input);
  Close(&session->output[0]);
  if (session->kind == kWriteFile && session->temporary[0] != '\0') {
    SYSCALL1(unlink, session->temporary);
  }
  session->kind = kFree;
}
