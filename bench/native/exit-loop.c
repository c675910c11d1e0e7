/* The least that a monitor in C does for an exit: runs a guest given in hexadecimal, in real mode at 0x1000, answers
 * port reads by 0 and drops port writes until the guest halts, then writes the guest's memory from `from` to `to` to
 * standard output.
 *
 *   exit-loop CODE MEMORY FROM TO
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define CODE 0x1000

int main(int argc, char **argv) {
  if (argc != 5) errx(2, "usage: exit-loop CODE MEMORY FROM TO");
  size_t size = strtoul(argv[2], NULL, 0);
  size_t from = strtoul(argv[3], NULL, 0);
  size_t to = strtoul(argv[4], NULL, 0);

  int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) err(1, "/dev/kvm");
  int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) err(1, "KVM_CREATE_VM");
  uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) err(1, "mmap");
  for (size_t i = 0; argv[1][2 * i]; i++) {
    unsigned byte;
    if (sscanf(argv[1] + 2 * i, "%2x", &byte) != 1) errx(2, "CODE");
    memory[CODE + i] = (uint8_t)byte;
  }
  struct kvm_userspace_memory_region region = {.memory_size = size,
                                               .userspace_addr = (uintptr_t)memory};
  if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0) err(1, "KVM_SET_USER_MEMORY_REGION");

  int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
  if (vcpu < 0) err(1, "KVM_CREATE_VCPU");
  size_t run_size = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  struct kvm_run *run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) err(1, "mmap of the run page");
  struct kvm_sregs sregs;
  if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0) err(1, "KVM_GET_SREGS");
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0) err(1, "KVM_SET_SREGS");
  struct kvm_regs regs = {.rip = CODE, .rflags = 2};
  if (ioctl(vcpu, KVM_SET_REGS, &regs) < 0) err(1, "KVM_SET_REGS");

  for (;;) {
    if (ioctl(vcpu, KVM_RUN, 0) < 0) err(1, "KVM_RUN");
    switch (run->exit_reason) {
      case KVM_EXIT_IO:
        if (run->io.direction == KVM_EXIT_IO_IN) {
          memset((uint8_t *)run + run->io.data_offset, 0, (size_t)run->io.size * run->io.count);
        }
        break;
      case KVM_EXIT_HLT:
        if (fwrite(memory + from, 1, to - from, stdout) != to - from) err(1, "fwrite");
        return 0;
      default:
        errx(1, "exit reason %u", run->exit_reason);
    }
  }
}
