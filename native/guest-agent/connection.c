#include "connection.h"

#include <linux/socket.h>
#include <linux/un.h>

enum { AF_UNIX = 1, AF_VSOCK = 40, SOCK_STREAM = 1, SOCK_CLOEXEC = O_CLOEXEC };

// linux/vm_sockets.h wants a C library's struct sockaddr.
struct sockaddr_vm {
  uint16_t family;
  uint16_t reserved;
  uint32_t port;
  uint32_t cid;
  uint8_t zero[4];
};

enum { kHostCid = 2, kAnyCid = -1, kReservedPortLast = 1023, kReservedPortFirst = 512 };

int connection = -1;

static bool broken;
static uint8_t outgoing[sizeof(struct FrameHeader) + kPayloadMax];
// A NUL of ours may follow the last frame.
static uint8_t incoming[sizeof(struct FrameHeader) + kRequestMax + 1];
static size_t filled;

static void WriteAll(const uint8_t* bytes, size_t length) {
  while (length > 0 && !broken) {
    long written = SYSCALL3(write, connection, bytes, length);
    if (written == -EINTR) continue;
    if (written <= 0) {
      broken = true;
      return;
    }
    bytes += written;
    length -= (size_t)written;
  }
}

static bool SayHello(void) {
  const struct Hello hello = {kMagic, kVersion};
  broken = false;
  filled = 0;
  Send(0, kHello, 0, &hello, sizeof hello);
  return !broken;
}

// From a port that only root may use, by which the host knows that no other user of the guest's
// plays the agent.
static bool BindReserved(int fd) {
  for (int port = kReservedPortLast; port >= kReservedPortFirst; port--) {
    struct sockaddr_vm address = {.family = AF_VSOCK, .port = port, .cid = kAnyCid};
    long result = SYSCALL3(bind, fd, &address, sizeof address);
    if (result != -EADDRINUSE) return result == 0;
  }
  return false;
}

bool ConnectVsock(void) {
  int fd = (int)SYSCALL3(socket, AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  struct sockaddr_vm host = {.family = AF_VSOCK, .port = kPort, .cid = kHostCid};
  if (!BindReserved(fd) || SYSCALL3(connect, fd, &host, sizeof host) != 0) {
    Close(&fd);
    return false;
  }
  return ConnectFd(fd);
}

bool ConnectUnix(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = Length(path);
  if (length >= sizeof address.sun_path) return false;
  memcpy(address.sun_path, path, length);
  int fd = (int)SYSCALL3(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  if (SYSCALL3(connect, fd, &address, sizeof address) != 0) {
    Close(&fd);
    return false;
  }
  return ConnectFd(fd);
}

bool ConnectFd(int fd) {
  connection = fd;
  SYSCALL3(fcntl, fd, F_SETFD, FD_CLOEXEC);
  if (SayHello()) return true;
  Close(&connection);
  return false;
}

void Send(uint16_t session, uint8_t type, uint8_t stream, const void* payload, uint32_t length) {
  const struct FrameHeader header = {length, session, type, stream};
  memcpy(outgoing, &header, sizeof header);
  if (payload != DataBuffer()) memcpy(DataBuffer(), payload, length);
  WriteAll(outgoing, sizeof header + length);
}

uint8_t* DataBuffer(void) { return outgoing + sizeof(struct FrameHeader); }

void SendData(uint16_t session, uint8_t stream, uint32_t length) {
  Send(session, kData, stream, DataBuffer(), length);
}

static bool StartsSession(uint8_t type) {
  return (type >= kExec && type <= kWrite) || (type >= kList && type <= kMakeLink);
}

bool Receive(bool (*handle)(const struct FrameHeader* header, uint8_t* payload)) {
  long count = SYSCALL3(read, connection, incoming + filled, sizeof incoming - 1 - filled);
  if (count == -EINTR || count == -EAGAIN) return true;
  if (count <= 0) return false;
  filled += (size_t)count;
  size_t at = 0;
  while (filled - at >= sizeof(struct FrameHeader)) {
    struct FrameHeader header;
    memcpy(&header, incoming + at, sizeof header);
    if (header.length > (StartsSession(header.type) ? kRequestMax : kPayloadMax)) return false;
    size_t size = sizeof header + header.length;
    if (filled - at < size) break;
    uint8_t* payload = incoming + at + sizeof header;
    // Strings end here at the latest; the byte belongs to the next frame and is put back.
    uint8_t next = payload[header.length];
    payload[header.length] = '\0';
    bool fine = handle(&header, payload);
    payload[header.length] = next;
    if (!fine || broken) return false;
    at += size;
  }
  // What is left is less than a frame. It moves to the front, a byte at a time as the areas may
  // overlap.
  for (size_t i = at; i < filled && at > 0; i++) incoming[i - at] = incoming[i];
  filled -= at;
  return !broken;
}
