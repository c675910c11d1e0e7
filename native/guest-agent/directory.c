#include "connection.h"
#include "session.h"

enum { S_IFMT = 0170000, S_IFDIR = 0040000 };

// A path with its NUL, and nothing after it.
static bool IsPath(const char* path, uint32_t length) {
  return length > 0 && Length(path) + 1 == length;
}

// What takes one step: its answer is that of a file without contents.
static void Answer(uint16_t id, uint32_t mode, long result) {
  if (result < 0) return Fail(id, result, kStepFile);
  SendFileStarted(id, mode, 0);
  SendFileEnded(id);
}

void StartList(uint16_t id, const char* path, uint32_t length) {
  if (!IsPath(path, length)) return Fail(id, -EINVAL, kStepRequest);
  struct Session* session = NewSession(id, kListDirectory);
  if (session == NULL) return Fail(id, -EAGAIN, kStepResources);
  long fd = SYSCALL2(open, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return EndFile(session, fd);
  session->output[0] = (int)fd;
  struct stat status;
  long result = SYSCALL2(fstat, fd, &status);
  if (result < 0) return EndFile(session, result);
  SendFileStarted(id, status.st_mode, 0);
}

void SendLink(uint16_t id, const char* path, uint32_t length) {
  if (!IsPath(path, length)) return Fail(id, -EINVAL, kStepRequest);
  char target[4096];
  long count = SYSCALL3(readlink, path, target, sizeof target);
  if (count < 0) return Fail(id, count, kStepFile);
  SendFileStarted(id, 0777, (uint64_t)count);
  Send(id, kData, kStdout, target, (uint32_t)count);
  Send(id, kEof, kStdout, NULL, 0);
  SendFileEnded(id);
}

// One that is there already stays as it is.
void MakeDirectory(uint16_t id, uint32_t mode, const char* path, uint32_t length) {
  if (!IsPath(path, length)) return Fail(id, -EINVAL, kStepRequest);
  mode &= 07777;
  long result = SYSCALL2(mkdir, path, 0700);
  // Whatever the umask is.
  if (result == 0) result = SYSCALL2(chmod, path, mode);
  if (result == -EEXIST) {
    struct stat status;
    result = SYSCALL2(stat, path, &status);
    if (result == 0 && (status.st_mode & S_IFMT) != S_IFDIR) result = -ENOTDIR;
    if (result == 0) mode = status.st_mode;
  }
  Answer(id, mode, result);
}

// Takes the place of what is no folder, as a file that is written does.
void MakeLink(uint16_t id, const char* strings, uint32_t length) {
  size_t end = Length(strings);
  if (end + 1 >= length) return Fail(id, -EINVAL, kStepRequest);
  const char* target = strings + end + 1;
  if (!IsPath(target, length - (uint32_t)end - 1)) return Fail(id, -EINVAL, kStepRequest);
  long result = SYSCALL2(symlink, target, strings);
  if (result == -EEXIST) {
    result = SYSCALL1(unlink, strings);
    if (result == 0) result = SYSCALL2(symlink, target, strings);
  }
  Answer(id, 0777, result);
}
