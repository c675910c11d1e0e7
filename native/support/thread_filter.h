#pragma once

namespace node_kvm {

// From here on the calling thread may make only the system calls of a vCPU's thread: ioctl, to
// wait, to wake others, to allocate memory that is not executable. Any other fails with EPERM.
// Nothing happens where the kernel has no seccomp, and under sanitizers, which make calls of their
// own.
void RestrictToVcpu();

}  // namespace node_kvm
