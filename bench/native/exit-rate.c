/* How many exits a monitor in C handles: every vCPU has a thread, a guest in real mode that reads a port for ever, and
 * an answer of 0 to each read. Prints the exits per second of all together.
 *
 *   exit-rate CODE VCPUS MILLISECONDS       CODE in hexadecimal, loaded at 0x1000
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#define CODE 0x1000
#define MEMORY 0x40000
#define VCPUS_MAX 64

static int kvm, vm;
static atomic_bool done;

struct vcpu {
  int fd;
  uint64_t exits;
  pthread_t thread;
};

static void *serve(void *argument) {
  struct vcpu *vcpu = argument;
  size_t run_size = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
  if (run == MAP_FAILED) err(1, "mmap of the run page");
  uint64_t exits = 0;
  while (!atomic_load_explicit(&done, memory_order_relaxed)) {
    if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) err(1, "KVM_RUN");
    if (run->exit_reason != KVM_EXIT_IO) errx(1, "exit reason %u", run->exit_reason);
    memset((uint8_t *)run + run->io.data_offset, 0, (size_t)run->io.size * run->io.count);
    exits++;
  }
  vcpu->exits = exits;
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 4) errx(2, "usage: exit-rate CODE VCPUS MILLISECONDS");
  int count = atoi(argv[2]);
  long milliseconds = atol(argv[3]);
  if (count < 1 || count > VCPUS_MAX) errx(2, "VCPUS");

  kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) err(1, "/dev/kvm");
  vm = ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) err(1, "KVM_CREATE_VM");
  uint8_t *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) err(1, "mmap");
  for (size_t i = 0; argv[1][2 * i]; i++) {
    unsigned byte;
    if (sscanf(argv[1] + 2 * i, "%2x", &byte) != 1) errx(2, "CODE");
    memory[CODE + i] = (uint8_t)byte;
  }
  struct kvm_userspace_memory_region region = {.memory_size = MEMORY,
                                               .userspace_addr = (uintptr_t)memory};
  if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) err(1, "KVM_SET_USER_MEMORY_REGION");

  struct vcpu vcpus[VCPUS_MAX] = {0};
  for (int i = 0; i < count; i++) {
    vcpus[i].fd = ioctl(vm, KVM_CREATE_VCPU, i);
    if (vcpus[i].fd < 0) err(1, "KVM_CREATE_VCPU");
    struct kvm_sregs sregs;
    if (ioctl(vcpus[i].fd, KVM_GET_SREGS, &sregs) < 0) err(1, "KVM_GET_SREGS");
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    if (ioctl(vcpus[i].fd, KVM_SET_SREGS, &sregs) < 0) err(1, "KVM_SET_SREGS");
    struct kvm_regs regs = {.rip = CODE, .rflags = 2};
    if (ioctl(vcpus[i].fd, KVM_SET_REGS, &regs) < 0) err(1, "KVM_SET_REGS");
  }
  for (int i = 0; i < count; i++) {
    if (pthread_create(&vcpus[i].thread, NULL, serve, &vcpus[i]) != 0) errx(1, "pthread_create");
  }
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  nanosleep(&time, NULL);
  atomic_store(&done, 1);
  uint64_t exits = 0;
  for (int i = 0; i < count; i++) {
    pthread_join(vcpus[i].thread, NULL);
    exits += vcpus[i].exits;
  }
  printf("%.0f\n", (double)exits * 1000 / (double)milliseconds);
  return 0;
}
