/* Both ends of a connection, for a guest (linked statically) and for the host.
 *
 *   net-peer echo PORT                      answers each byte on TCP with a byte, for ever
 *   net-peer sink PORT                      reads all that comes by TCP, of many at a time, for ever
 *   net-peer ping ADDRESS PORT COUNT        COUNT bytes there and back by TCP; prints the median in microseconds
 *   net-peer send ADDRESS PORT BYTES        sends BYTES zeroes in writes of 64 KiB and waits until all were taken
 *   net-peer receive ADDRESS PORT BYTES     reads BYTES
 *
 * ADDRESS is an IPv4 address, or the context ID of a vsock.
 */
#include <arpa/inet.h>
#include <err.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536

static char buffer[CHUNK];

static void no_delay(int fd) {
  int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) err(1, "TCP_NODELAY");
}

static int dial(const char *address, unsigned port) {
  if (strchr(address, '.') == NULL) {
    struct sockaddr_vm vm = {.svm_family = AF_VSOCK,
                             .svm_cid = (unsigned)strtoul(address, NULL, 0),
                             .svm_port = port};
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&vm, sizeof vm) < 0) err(1, "vsock");
    return fd;
  }
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, address, &in.sin_addr) != 1) errx(2, "ADDRESS");
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof in) < 0) err(1, "connect");
  no_delay(fd);
  return fd;
}

static int listen_on(unsigned port) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  int on = 1;
  int server = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(server, (struct sockaddr *)&in, sizeof in) < 0 || listen(server, 64) < 0) {
    err(1, "port %u", port);
  }
  return server;
}

static int accept_on(int server) {
  int fd = accept(server, NULL, NULL);
  if (fd < 0) err(1, "accept");
  return fd;
}

static void echo(unsigned port) {
  int server = listen_on(port);
  for (;;) {
    int fd = accept_on(server);
    no_delay(fd);
    while (read(fd, buffer, 1) == 1 && write(fd, buffer, 1) == 1) continue;
    close(fd);
  }
}

static void sink(unsigned port) {
  int server = listen_on(port);
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    int fd = accept_on(server);
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      while (read(fd, buffer, CHUNK) > 0) continue;
      _exit(0);
    }
    close(fd);
  }
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void ping(int fd, size_t count) {
  double *times = calloc(count, sizeof *times);
  if (count == 0 || times == NULL) errx(2, "COUNT");
  for (size_t i = 0; i < count; i++) {
    double start = now();
    if (write(fd, buffer, 1) != 1 || read(fd, buffer, 1) != 1) err(1, "the other end");
    times[i] = now() - start;
  }
  qsort(times, count, sizeof *times, by_value);
  printf("%.1f\n", times[count / 2]);
}

/* The other end closes its side when it has everything. */
static void send_all(int fd, uint64_t bytes) {
  while (bytes > 0) {
    ssize_t sent = write(fd, buffer, bytes < CHUNK ? bytes : CHUNK);
    if (sent <= 0) err(1, "write");
    bytes -= (uint64_t)sent;
  }
  shutdown(fd, SHUT_WR);
  while (read(fd, buffer, CHUNK) > 0) continue;
}

static void receive_all(int fd, uint64_t bytes) {
  while (bytes > 0) {
    ssize_t got = read(fd, buffer, CHUNK);
    if (got <= 0) err(1, "read");
    bytes -= (uint64_t)got;
  }
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "echo") == 0) echo((unsigned)atoi(argv[2]));
  if (argc == 3 && strcmp(argv[1], "sink") == 0) sink((unsigned)atoi(argv[2]));
  if (argc != 5) errx(2, "usage: net-peer echo|sink PORT | ping|send|receive ADDRESS PORT COUNT");
  int fd = dial(argv[2], (unsigned)atoi(argv[3]));
  uint64_t count = strtoull(argv[4], NULL, 0);
  if (strcmp(argv[1], "ping") == 0) {
    ping(fd, count);
  } else if (strcmp(argv[1], "send") == 0) {
    send_all(fd, count);
  } else if (strcmp(argv[1], "receive") == 0) {
    receive_all(fd, count);
  } else {
    errx(2, "%s", argv[1]);
  }
  return 0;
}
