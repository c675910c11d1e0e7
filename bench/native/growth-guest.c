/* The whole user space of a guest of the benchmark `growth`: /init, with nothing else to start.
 *
 *   growth-guest ADDRESS HOST PORT      both IPv4; the kernel hands them over after `--`
 *
 * Loads the modules of the initramfs, sets up eth0, says READY, and does what lines on the console say: `go SECONDS` reads
 * 4 KiB blocks of /dev/vda at random places, past the page cache, and sends to the host by TCP, both at once for so long.
 * Then it says `DONE READS BYTES`.
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, CHUNK = 65536 };

static void load_modules(void) {
  FILE *order = fopen("/modules/order", "r");
  if (order == NULL) err(1, "/modules/order");
  char name[64];
  char path[96];
  while (fscanf(order, "%63s", name) == 1) {
    snprintf(path, sizeof path, "/modules/%s.ko", name);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0) err(1, "%s", path);
    close(fd);
  }
  fclose(order);
}

static struct sockaddr_in address_of(const char *text, unsigned port) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, text, &in.sin_addr) != 1) errx(2, "no IPv4 address: %s", text);
  return in;
}

static void set_up_network(const char *address) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct ifreq request = {.ifr_name = "eth0"};
  struct sockaddr_in in = address_of(address, 0);
  memcpy(&request.ifr_addr, &in, sizeof in);
  if (fd < 0 || ioctl(fd, SIOCSIFADDR, &request) < 0) err(1, "SIOCSIFADDR");
  in = address_of("255.255.255.0", 0);
  memcpy(&request.ifr_netmask, &in, sizeof in);
  if (ioctl(fd, SIOCSIFNETMASK, &request) < 0) err(1, "SIOCSIFNETMASK");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(fd, SIOCSIFFLAGS, &request) < 0) err(1, "SIOCSIFFLAGS");
  close(fd);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t read_until(double end) {
  int fd = open("/dev/vda", O_RDONLY | O_DIRECT);
  off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
  void *block = aligned_alloc(BLOCK, BLOCK);
  if (size < BLOCK || block == NULL) err(1, "/dev/vda");
  uint64_t reads = 0;
  uint32_t random = 1;
  for (; now() < end; reads++) {
    random = random * 1664525 + 1013904223;
    off_t at = (off_t)(random >> 8) % (size / BLOCK) * BLOCK;
    if (pread(fd, block, BLOCK, at) != BLOCK) err(1, "pread");
  }
  close(fd);
  return reads;
}

static uint64_t send_until(const struct sockaddr_in *host, double end) {
  static char zeroes[CHUNK];
  struct timeval limit = {.tv_sec = 1};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr *)host, sizeof *host) < 0) err(1, "connect");
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  uint64_t bytes = 0;
  while (now() < end) {
    ssize_t sent = write(fd, zeroes, CHUNK);
    if (sent > 0) bytes += (uint64_t)sent;
  }
  close(fd);
  return bytes;
}

static void go(double seconds, const struct sockaddr_in *host) {
  uint64_t *reads = mmap(NULL, sizeof *reads, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (reads == MAP_FAILED) err(1, "mmap");
  double end = now() + seconds;
  pid_t reader = fork();
  if (reader < 0) err(1, "fork");
  if (reader == 0) {
    // Or the sender, which always has something to do, has the processor to itself for most of the time.
    if (nice(-10) == -1) err(1, "nice");
    *reads = read_until(end);
    _exit(0);
  }
  uint64_t bytes = send_until(host, end);
  waitpid(reader, NULL, 0);
  printf("DONE %llu %llu\n", (unsigned long long)*reads, (unsigned long long)bytes);
  munmap(reads, sizeof *reads);
}

int main(int argc, char **argv) {
  // Before them come parameters that the kernel does not know.
  if (argc < 4) errx(2, "usage: growth-guest ADDRESS HOST PORT");
  argv += argc - 4;
  setvbuf(stdout, NULL, _IOLBF, 0);
  mkdir("/dev", 0755);
  if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) < 0) err(1, "devtmpfs");
  load_modules();
  set_up_network(argv[1]);
  struct sockaddr_in host = address_of(argv[2], (unsigned)atoi(argv[3]));
  struct termios terminal;
  tcgetattr(0, &terminal);
  terminal.c_lflag &= (tcflag_t) ~(unsigned)ECHO;
  tcsetattr(0, TCSANOW, &terminal);
  puts("READY");
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    double seconds = 0;
    if (sscanf(line, "go %lf", &seconds) == 1) go(seconds, &host);
  }
  return 1;
}
