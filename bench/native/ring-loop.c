// Both ends of a virtio-blk split queue, with no guest in between.
//
//   ring-loop drive MEMFD KICKFD IRQFD DESC AVAIL USED SIZE HEAP DEPTH SECTORS OPS
//     plays the guest: keeps DEPTH reads of 4 KiB at random places in flight until OPS of them are done,
//     and prints the seconds that took
//   ring-loop serve MEMFD KICKFD IRQFD DESC AVAIL USED SIZE FILE
//     plays the device, the way a C program would: one thread, pread; ends when the kick eventfd brings 2^32 or more
//
// Both ends use event indices and block on their eventfd when there is nothing to do.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096

struct desc {
  uint64_t addr;
  uint32_t len;
  uint16_t flags, next;
};
struct used_elem {
  uint32_t id, len;
};

static uint8_t *memory;
static uint64_t memory_size;
static struct desc *desc;
static _Atomic uint16_t *avail_idx, *used_idx, *used_event, *avail_event;
static uint16_t *avail_ring;
static struct used_elem *used_ring;
static uint32_t size;
static int kick_fd, irq_fd;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void map(char **args) {
  int fd = atoi(args[0]);
  struct stat stat;
  if (fstat(fd, &stat) < 0) fail("fstat");
  memory_size = stat.st_size;
  memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (memory == MAP_FAILED) fail("mmap");
  kick_fd = atoi(args[1]);
  irq_fd = atoi(args[2]);
  desc = (void *)(memory + strtoull(args[3], 0, 0));
  uint8_t *avail = memory + strtoull(args[4], 0, 0);
  uint8_t *used = memory + strtoull(args[5], 0, 0);
  size = strtoul(args[6], 0, 0);
  avail_idx = (void *)(avail + 2);
  avail_ring = (void *)(avail + 4);
  used_event = (void *)(avail + 4 + 2 * size);
  used_idx = (void *)(used + 2);
  used_ring = (void *)(used + 4);
  avail_event = (void *)(used + 4 + 8 * size);
}

static uint64_t wait_for(int fd) {
  uint64_t count;
  for (;;) {
    if (read(fd, &count, sizeof count) == sizeof count) return count;
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    if (select(fd + 1, &set, NULL, NULL, NULL) < 0) fail("select");
  }
}

static void signal_event(int fd) {
  uint64_t one = 1;
  if (write(fd, &one, sizeof one) != sizeof one) fail("write");
}

static int passed(uint16_t event, uint16_t now, uint16_t before) {
  return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static uint64_t random_state = 88172645463325252ull;
static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

// Slot i has descriptors 3i, 3i + 1 and 3i + 2.
static void prepare(uint32_t slot, uint64_t heap, uint64_t sectors) {
  uint8_t *header = memory + heap + 32 * slot;
  uint64_t sector = next_random() % (sectors / 8) * 8;
  memset(header, 0, 16);
  memcpy(header + 8, &sector, 8);
  header[16] = 0xff;
  uint16_t head = 3 * slot;
  uint64_t data = heap + 0x10000 + (uint64_t)BLOCK * slot;
  desc[head] = (struct desc){heap + 32 * slot, 16, 1, head + 1};
  desc[head + 1] = (struct desc){data, BLOCK, 3, head + 2};
  desc[head + 2] = (struct desc){heap + 32 * slot + 16, 1, 2, 0};
}

static int drive(char **args) {
  map(args);
  uint64_t heap = strtoull(args[7], 0, 0);
  uint32_t depth = strtoul(args[8], 0, 0);
  uint64_t sectors = strtoull(args[9], 0, 0);
  uint64_t operations = strtoull(args[10], 0, 0);
  uint16_t avail = 0, used = 0;
  uint64_t started = 0, done = 0;
  uint32_t free_slots[1024], free_count = 0;
  for (uint32_t i = 0; i < depth; i++) free_slots[free_count++] = i;
  double start = now();
  while (done < operations) {
    uint16_t before = avail;
    while (free_count > 0 && started < operations) {
      uint32_t slot = free_slots[--free_count];
      prepare(slot, heap, sectors);
      avail_ring[avail++ % size] = 3 * slot;
      started++;
    }
    if (avail != before) {
      atomic_store(avail_idx, avail);
      if (passed(atomic_load(avail_event), avail, before)) signal_event(kick_fd);
    }
    // Interrupt at the next completion, unless there is one already.
    atomic_store(used_event, used);
    while (atomic_load(used_idx) == used) wait_for(irq_fd);
    for (uint16_t end = atomic_load(used_idx); used != end; used++, done++) {
      uint32_t slot = used_ring[used % size].id / 3;
      if (memory[heap + 32 * slot + 16] != 0) return fprintf(stderr, "request failed\n"), 1;
      free_slots[free_count++] = slot;
    }
  }
  printf("%.6f\n", now() - start);
  return 0;
}

static void *resolve(uint64_t address, uint64_t length) {
  if (address >= memory_size || length > memory_size - address) {
    fprintf(stderr, "bad address\n");
    exit(1);
  }
  return memory + address;
}

static int serve(char **args) {
  map(args);
  int file = open(args[7], O_RDWR);
  if (file < 0) fail(args[7]);
  uint16_t avail = 0, used = 0;
  for (;;) {
    if (wait_for(kick_fd) >> 32) return 0;
    for (;;) {
      uint16_t before = used;
      for (uint16_t end = atomic_load(avail_idx); avail != end; avail++) {
        uint16_t head = avail_ring[avail % size];
        struct desc header = desc[head % size];
        struct desc data = desc[header.next % size];
        struct desc status = desc[data.next % size];
        uint64_t sector;
        memcpy(&sector, (uint8_t *)resolve(header.addr, 16) + 8, 8);
        ssize_t got = pread(file, resolve(data.addr, data.len), data.len, sector * 512);
        *(uint8_t *)resolve(status.addr, 1) = got == (ssize_t)data.len ? 0 : 1;
        used_ring[used++ % size] = (struct used_elem){head, data.len + 1};
      }
      if (used != before) {
        atomic_store(used_idx, used);
        if (passed(atomic_load(used_event), used, before)) signal_event(irq_fd);
      }
      atomic_store(avail_event, avail);
      if (atomic_load(avail_idx) == avail) break;
    }
  }
}

int main(int argc, char **argv) {
  if (argc == 13 && strcmp(argv[1], "drive") == 0) return drive(argv + 2);
  if (argc == 10 && strcmp(argv[1], "serve") == 0) return serve(argv + 2);
  fprintf(stderr, "usage: see the source\n");
  return 2;
}
