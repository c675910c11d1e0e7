/* Creates and destroys a VM with an irqchip, one memory slot and one vCPU with its run page, as
 * often as told; writes the nanoseconds that it took.
 *
 *   lifecycle CYCLES
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MEMORY (1 << 20)

static void cycle(int kvm, size_t run_size) {
  int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) err(1, "KVM_CREATE_VM");
  if (ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0) err(1, "KVM_CREATE_IRQCHIP");
  int memfd = memfd_create("lifecycle", MFD_CLOEXEC);
  if (memfd < 0 || ftruncate(memfd, MEMORY) < 0) err(1, "memfd");
  void *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
  if (memory == MAP_FAILED) err(1, "mmap");
  struct kvm_userspace_memory_region region = {.memory_size = MEMORY,
                                               .userspace_addr = (uintptr_t)memory};
  if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) err(1, "KVM_SET_USER_MEMORY_REGION");
  int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  if (vcpu < 0) err(1, "KVM_CREATE_VCPU");
  void *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) err(1, "mmap of the run page");

  munmap(run, run_size);
  close(vcpu);
  close(vm);
  munmap(memory, MEMORY);
  close(memfd);
}

int main(int argc, char **argv) {
  if (argc != 2) errx(2, "usage: lifecycle CYCLES");
  long cycles = strtol(argv[1], NULL, 0);
  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) err(1, "/dev/kvm");
  size_t run_size = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  /* The first VM of a machine makes KVM start: not ours to measure. */
  int held = ioctl(kvm, KVM_CREATE_VM, 0);
  if (held < 0) err(1, "KVM_CREATE_VM");
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (long i = 0; i < cycles; i++) cycle(kvm, run_size);
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("%.0f\n", (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec));
  return 0;
}
