#ifndef NODE_KVM_GUEST_AGENT_CONNECTION_H_
#define NODE_KVM_GUEST_AGENT_CONNECTION_H_

#include "protocol.h"
#include "syscalls.h"

extern int connection;

// Connects to the host over vsock and says hello. Returns whether it did.
bool ConnectVsock(void);

// Connects to a Unix socket and says hello: for tests.
bool ConnectUnix(const char* path);

// Takes a socket that is connected already and says hello: for tests.
bool ConnectFd(int fd);

// Sends a frame. It blocks while the host does not read, which it always does: what it must keep is
// bounded by windows.
void Send(uint16_t session, uint8_t type, uint8_t stream, const void* payload, uint32_t length);

// Where the payload of a kData frame is to be put, with room for kPayloadMax bytes, and how to send
// it from there.
uint8_t* DataBuffer(void);
void SendData(uint16_t session, uint8_t stream, uint32_t length);

// Takes what the host has sent and hands each whole frame to `handle`, with a NUL behind the
// payload. Returns false when the connection is over, or broke the protocol.
bool Receive(bool (*handle)(const struct FrameHeader* header, uint8_t* payload));

#endif
